"""View: what an encoder is asked to look at."""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """A user's history, an item, or both together.

    `View(history=(3, 7))` is a user, `View(candidate=4)` an item, and both fields a user before an item. Text
    backbones write a view as words, id backbones as rows: a head never asks which one it sits on.
    """

    history: tuple[int, ...] = ()
    """Catalogue rows, oldest first."""
    liked: tuple[int, ...] = ()
    """Feedback beside each event of the history: 1 liked, 0 not, -1 unknown. Empty where there is none."""
    candidate: int | None = None
    """Catalogue row."""
    user: tuple[str, ...] = ()
    """What is known of the user, as words, in the order of `Backbone.user_columns`; empty where the backbone reads
    none, and in views of single items."""

    @property
    def is_item(self) -> bool:
        """Whether it is an item alone: no history, nothing of a user."""
        return self.candidate is not None and not self.history and not self.user
