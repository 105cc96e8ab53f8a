"""RawTables: what a source hands over, as it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class RawTables:
    """Tables as a source found them, with the source's own column names.

    `columns` maps the project's column names to the source's: {"user": "user_id", "item": "movie_id", "time":
    "timestamp", "rating": "stars"}; a recipe's `data.columns` overrides it. Names that lorarec knows: user, item,
    time, rating, click, event (its kind, which `data.events` explains), history (list of item ids, oldest first, where
    rows bring their own), history_feedback (list of numbers beside it), split (train, validation or test). For items:
    item (the id), and whichever text fields there are, under their own names, for `data.item_text` to use. For users:
    user (the id), and whichever columns there are, for templates of the backbone to use as {user.NAME}.
    """

    interactions: Dataset
    items: Dataset | None = None
    users: Dataset | None = None
    columns: dict[str, str] = field(default_factory=dict)
    item_text: str | None = None
    """The template that suits this source, such as "{title} ({genres})"; a recipe's `data.item_text` overrides it."""
    origin: str = ""
    """Files or address read, for messages: "ratings.parquet"."""
    users_asked: bool = False
    """Whether an option of the source names the users' table: it is refused then where no template reads it. One that
    merely lies beside the other tables is mentioned in the data report."""
    items_origin: str = ""
    """The item table's own file, where it has one: messages about items name it instead of `origin`."""
