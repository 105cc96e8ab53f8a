"""From a source's raw tables to everything training reads: numbered, split, with histories, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lorarec.config.recipe import DataSection, SplitSection
from lorarec.data.catalog import Catalog
from lorarec.data.columns import CLICK, EVENT, KNOWN, USER, WEIGHT, missing_column
from lorarec.data.events import EventUse, read_kinds
from lorarec.data.history import Histories, feedback_column
from lorarec.data.interactions import Interactions, Part
from lorarec.data.item_features import item_features
from lorarec.data.number import NumberedTables, number
from lorarec.data.report import DataReport, report_of
from lorarec.data.split import split
from lorarec.data.statistics import Statistics, statistics_of
from lorarec.data.users import Users, users_of_table
from lorarec.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class PreparedData:
    """What training and evaluation read."""

    interactions: Interactions
    catalog: Catalog
    histories: Histories
    statistics: Statistics
    report: DataReport
    users: Users | None = None
    """What the backbone reads of the users; None where it reads nothing of them."""


def prepare(
    raw_interactions: Dataset,
    raw_items: Dataset | None,
    columns: Mapping[str, str],
    item_text: str | None,
    origin: str,
    section: DataSection,
    seed: int,
    label: str | None,
    needs: frozenset[str],
    items_origin: str = "",
    item_columns: tuple[str, ...] = (),
    raw_users: Dataset | None = None,
    user_columns: tuple[str, ...] = (),
    users_asked: bool = False,
    reads_feedback: bool = False,
) -> PreparedData:
    """Number, split, look back, count.

    `columns` and `item_text` are the source's, the section's override them; `label` is the column the task
    predicts and `needs` those it cannot do without; `item_columns` are those of the item table it compares items by,
    `user_columns` those of the users' table that the backbone reads; a table that it reads nothing of is mentioned, or
    refused if an option names it (`users_asked`). `reads_feedback`: whether the task tells liked events of a history
    from disliked ones.
    Raises DataError naming file, row and column of what cannot be used.
    """
    merged = {**columns, **section.columns}
    keep = [section.split.column] if section.split.by == "column" else []
    keep += [section.split.users] if section.split.users is not None else []
    kinds = read_kinds(raw_interactions, merged, section, needs, origin)
    if kinds is not None:
        raw_interactions = kinds.readable(raw_interactions)
        merged = {name: column for name, column in merged.items() if column not in kinds.unread}
    made = frozenset({CLICK}) if kinds is not None and kinds.tell_likes else frozenset()
    _refuse_lacking(raw_interactions.column_names, merged, needs - made, origin)
    text = item_text if section.item_text is None else section.item_text
    numbered = number(
        raw_interactions, raw_items, merged, text, origin, keep, items_origin, item_columns, section.unlisted_items
    )
    use = None if kinds is None else kinds.use(numbered.table, needs, reads_feedback)
    part = split(numbered.table, section.split, seed, origin, None if use is None else use.target)
    interactions = _interactions(numbered, part, _in_no_part(part, section.split), use)
    if interactions.has(WEIGHT) and not interactions.column(WEIGHT)[interactions.rows(Part.TRAIN)].any():
        weighed_by = f"column '{merged[WEIGHT]}'" if WEIGHT in merged else "data.events.weights"
        raise DataError(f"{origin}, {weighed_by}: all training rows have weight 0: none is learned from.")
    statistics = statistics_of(interactions, label, len(numbered.catalog), section.liked_above)
    features = item_features(numbered.catalog, item_columns, items_origin or origin)
    statistics = replace(statistics, item_features=features)
    histories = Histories.of(
        interactions,
        section.history.scope,
        feedback_column(interactions),
        statistics.liked_above,
        section.split.by,
    )
    counts = _training_rows(interactions, len(numbered.catalog))
    # After histories and statistics: a row left out as an example is still an event that happened.
    interactions = _with_history(interactions, histories, section.history.at_least, origin)
    read = ", ".join(filter(None, (origin, items_origin)))
    says_whose = merged.get(USER, USER) in raw_interactions.column_names
    users, note = _users(raw_users, user_columns, users_asked, interactions, merged, says_whose, origin)
    report = report_of(interactions, numbered, histories, counts, read, section.split.by, users)
    report = replace(report, users_note=note)
    return PreparedData(interactions, numbered.catalog, histories, statistics, report, users)


def _users(
    raw: Dataset | None,
    names: tuple[str, ...],
    asked: bool,
    interactions: Interactions,
    columns: Mapping[str, str],
    says_whose: bool,
    origin: str,
) -> tuple[Users | None, str]:
    """What the backbone reads of the users, and a sentence for the report."""
    written = ", ".join(f"{{user.{name}}}" for name in names)
    if not names:
        if raw is None:
            return None, ""
        note = (
            f"nothing reads the users' table ({', '.join(raw.column_names)}): templates of the backbone can, by "
            "{user.NAME}"
        )
        if asked:
            raise DataError(
                f"{origin}: {note}. Name a column in backbone.templates.history or pair, or leave users out."
            )
        return None, note
    if raw is None:
        raise DataError(
            f"backbone.templates name {written}, but {origin} comes without a users' table. Give the source one, or "
            "leave it out of the template."
        )
    if not says_whose:
        raise DataError(f"backbone.templates name {written}, but the rows of {origin} do not say whose they are.")
    users, without = users_of_table(raw, interactions.user_ids, names, columns, origin)
    count = len(interactions.user_ids)
    return users, f"{written} of the users' table are read; {without:,} of {count:,} users have no row there"


def _interactions(
    numbered: NumberedTables, part: np.ndarray, dropped: dict[str, int], use: EventUse | None
) -> Interactions:
    """The numbered rows in their parts; of those that kinds of events make no targets, none is in any."""
    if use is None:
        return Interactions(numbered.table, numbered.user_ids, part, dropped)
    if use.answered.any():
        why = "shown, and the next event of the same user and item answers it"
        dropped = {**dropped, why: int(use.answered.sum())}
    targets = np.where(use.target, part, Part.UNUSED).astype(np.int8)
    use = replace(use, part=np.where(use.answered, Part.UNUSED, part).astype(np.int8))
    return Interactions(use.labeled(numbered.table), numbered.user_ids, targets, dropped, use)


def _training_rows(interactions: Interactions, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of each user [U] and item [N], whatever their kind."""
    train, users = interactions.rows(Part.TRAIN), len(interactions.user_ids)
    return (
        np.bincount(interactions.user[train], minlength=users),
        np.bincount(interactions.item[train], minlength=items),
    )


def _in_no_part(part: np.ndarray, section: SplitSection) -> dict[str, int]:
    """How many rows the split left out, by the setting that asked for it."""
    asked = {"users": section.users, "train_rows": section.train_rows}
    reason = "left out by " + " and ".join(f"data.split.{name}" for name, given in asked.items() if given is not None)
    left_out = int((part == Part.UNUSED).sum())
    return {reason: left_out} if left_out else {}


def _refuse_lacking(available: list[str], columns: Mapping[str, str], needs: frozenset[str], origin: str) -> None:
    for name in sorted(needs):
        # A mapped column that is missing is `resolve_columns`' to report.
        if name not in columns and name not in available:
            hint = f"; the task needs it. Say which one it is: data.columns.{name}=NAME" if name in KNOWN else ""
            if name == CLICK and columns.get(EVENT, EVENT) in available:
                hint += " (or which kinds of events were shown or disliked: data.events)"
            raise missing_column(name, available, origin, hint)


def _with_history(interactions: Interactions, histories: Histories, at_least: int, origin: str) -> Interactions:
    """Rows with a shorter history leave their part, and are counted."""
    if not at_least:
        return interactions
    short = histories.lengths(np.arange(len(interactions))) < at_least
    part = np.where(short, Part.UNUSED, interactions.part).astype(np.int8)
    for kept in (Part.TRAIN, Part.VALIDATION, Part.TEST):
        if (interactions.part == kept).any() and not (part == kept).any():
            raise DataError(
                f"{origin}: no row of the {kept.name.lower()} part has a history of {at_least} events or "
                "more. Lower data.history.at_least."
            )
    short &= interactions.part != Part.UNUSED
    dropped = {f"history shorter than {at_least}": int(short.sum())} if short.any() else {}
    return replace(interactions, part=part, dropped={**interactions.dropped, **dropped})
