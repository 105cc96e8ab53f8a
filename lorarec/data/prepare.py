"""From a source's raw tables to the data of training and evaluation: encode, split, build histories, count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lorarec.config.recipe import DataSection, SplitSection
from lorarec.data.catalog import Catalog, item_features
from lorarec.data.clean import clean, with_kinds
from lorarec.data.columns import CLICK, EVENT, HISTORY, HISTORY_FEEDBACK, ITEM, KNOWN, RATING, WEIGHT, missing_column
from lorarec.data.events import NONE, EventKinds, EventUse, read_kinds
from lorarec.data.history import Histories, feedback_column
from lorarec.data.interactions import Interactions, Part
from lorarec.data.listed_tables import with_listed_ids
from lorarec.data.missing_words import missing_words
from lorarec.data.raw_tables import NumberedTables, RawTables, number_tables
from lorarec.data.report import DataReport, report_of
from lorarec.data.split import few_shot, split
from lorarec.data.statistics import Statistics, statistics_of
from lorarec.data.users import Users, users_of
from lorarec.errors import DataError


@dataclass(frozen=True)
class PreparedData:
    """The data of training and evaluation."""

    interactions: Interactions
    catalog: Catalog
    histories: Histories
    statistics: Statistics
    report: DataReport
    users: Users | None = None
    """The users' columns that the backbone reads; None where it reads none."""


@dataclass(frozen=True)
class Wanted:
    """The data that the parts of a recipe need."""

    label: str | None = None
    """The column that the task predicts; None where it derives the labels, or has none."""
    needs: frozenset[str] = frozenset()
    """Columns that the task requires."""
    reads_feedback: bool = False
    """Whether the task distinguishes liked events of a history from disliked ones."""
    item_columns: tuple[str, ...] = ()
    """Columns of the item table that the task compares items by."""
    user_columns: tuple[str, ...] = ()
    """Columns of the users' table that the backbone reads."""


def prepare(raw: RawTables, wanted: Wanted, section: DataSection, seed: int) -> PreparedData:
    """Encode, split, build histories, count. The settings of `section` override those of the source.

    Raises DataError naming file, row and column of values that cannot be used.
    """
    item_text = raw.item_text if section.item_text is None else section.item_text
    raw = replace(
        raw,
        columns={**raw.columns, **section.columns},
        item_text=item_text,
        item_id=section.item_id or raw.item_id,
        user_id=section.user_id or raw.user_id,
    )
    raw, without_kind = with_kinds(raw, section)
    _refuse_unread_threshold(section, wanted, raw.origin)
    kinds = read_kinds(raw.interactions, raw.columns, section, wanted.needs, raw.origin)
    raw, kinds, dropped = clean(raw, kinds, section)
    raw, unlisted = with_listed_ids(raw, section, bool(wanted.user_columns))
    raw = _readable(raw, kinds, wanted)
    numbered = _numbered(raw, wanted, section)
    use = None if kinds is None else kinds.use(numbered.table, wanted.needs, wanted.reads_feedback)
    part, use = _parts(numbered, use, section.split, seed, raw)
    dropped = {**without_kind, **dropped, **unlisted, **_left_out(part, section.split)}
    interactions = replace(_interactions(numbered, part, dropped, use), rows_in_files=raw.rows)
    _refuse_no_weight(interactions, raw)
    statistics = statistics_of(interactions, wanted.label, len(numbered.catalog), section.liked_above)
    features = item_features(numbered.catalog, wanted.item_columns, raw.items_origin or raw.origin)
    statistics = replace(statistics, item_features=features)
    feedback, scope, by = feedback_column(interactions), section.history.scope, section.split.by
    histories = Histories.of(interactions, scope, feedback, statistics.liked_above, by)
    counts = _training_rows(interactions, len(numbered.catalog))
    # After histories and statistics: a row left out as an example is still an event.
    interactions = _with_history(interactions, histories, section.history.at_least, raw.origin)
    users, note = users_of(raw, wanted.user_columns, interactions.user_ids)
    read = ", ".join(filter(None, (raw.origin, raw.items_origin)))
    report = report_of(interactions, numbered, histories, counts, read, by, users)
    report = replace(report, users_note=note, detected=(*raw.notes, *numbered.notes))
    return PreparedData(interactions, numbered.catalog, histories, statistics, report, users)


def _refuse_unread_threshold(section: DataSection, wanted: Wanted, origin: str) -> None:
    if section.liked_above is not None and wanted.label is None and not wanted.reads_feedback:
        raise DataError(
            f"data.liked_above={section.liked_above:g} does nothing here: with these settings the head does not "
            f"distinguish what was liked in the histories of {origin}. Leave it out."
        )


def _readable(raw: RawTables, kinds: EventKinds | None, wanted: Wanted) -> RawTables:
    """The tables without the columns that kinds replace, where the rows have kinds."""
    if kinds is not None:
        columns = {name: column for name, column in raw.columns.items() if column not in kinds.unread}
        raw = replace(raw, interactions=kinds.readable(raw.interactions), columns=columns)
    derived = frozenset({CLICK}) if kinds is not None and kinds.tell_likes else frozenset()
    _refuse_lacking(raw.interactions.column_names, raw.columns, wanted.needs - derived, raw.origin)
    return raw


def _numbered(raw: RawTables, wanted: Wanted, section: DataSection) -> NumberedTables:
    if raw.items is None and section.unlisted_items == "all":
        raise DataError(
            f"data.unlisted_items=all does nothing here: {raw.origin} comes without an item table, so all items are "
            "read as their ids. Leave it out."
        )
    keep = [section.split.column] if section.split.by == "column" else []
    keep += [section.split.users] if section.split.users is not None else []
    words = {HISTORY: missing_words(section, ITEM), HISTORY_FEEDBACK: missing_words(section, RATING, CLICK)}
    return number_tables(
        raw, keep, wanted.item_columns, section.unlisted_items, section.dates, section.item_text_html, words
    )


def _refuse_no_weight(interactions: Interactions, raw: RawTables) -> None:
    if interactions.has(WEIGHT) and not interactions.column(WEIGHT)[interactions.rows(Part.TRAIN)].any():
        weighed_by = f"column '{raw.columns[WEIGHT]}'" if WEIGHT in raw.columns else "data.events.weights"
        raise DataError(f"{raw.origin}, {weighed_by}: all training rows have weight 0, so nothing can be learned.")


def _parts(
    numbered: NumberedTables, use: EventUse | None, section: SplitSection, seed: int, raw: RawTables
) -> tuple[np.ndarray, EventUse | None]:
    """[E] the part of each row by the split, and the use of the rows in it."""
    if use is None:
        part = split(numbered.table, section, seed, raw.origin, rows=raw.rows)
        return few_shot(part, section.train_rows, seed, raw.origin), None
    part = split(numbered.table, section, seed, raw.origin, use.target, raw.rows)
    use = use.at_split(part, section.by)
    part = few_shot(part, section.train_rows, seed, raw.origin, use.target)
    return part, use.in_parts(part)


def _interactions(
    numbered: NumberedTables, part: np.ndarray, dropped: dict[str, int], use: EventUse | None
) -> Interactions:
    """The encoded rows in their parts; rows that are not targets by their kind are in none."""
    if use is None:
        return Interactions(numbered.table, numbered.user_ids, part, dropped)
    answered = int((use.answer != NONE).sum())
    if answered:
        dropped = {**dropped, "shown, and the next event of the same user and item answers it": answered}
    targets = np.where(use.target, part, Part.UNUSED).astype(np.int8)
    return Interactions(use.labeled(numbered.table), numbered.user_ids, targets, dropped, use)


def _training_rows(interactions: Interactions, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of each user [U] and item [N], whatever their kind."""
    train, users = interactions.rows(Part.TRAIN), len(interactions.user_ids)
    return (
        np.bincount(interactions.user[train], minlength=users),
        np.bincount(interactions.item[train], minlength=items),
    )


def _left_out(part: np.ndarray, section: SplitSection) -> dict[str, int]:
    """Number of rows that the split left out, by the setting that left them out."""
    settings = {"users": section.users, "train_rows": section.train_rows}
    reason = "left out by " + " and ".join(
        f"data.split.{name}" for name, value in settings.items() if value is not None
    )
    left_out = int((part == Part.UNUSED).sum())
    return {reason: left_out} if left_out else {}


def _refuse_lacking(available: list[str], columns: Mapping[str, str], needs: frozenset[str], origin: str) -> None:
    for name in sorted(needs):
        # `resolve_columns` reports a mapped column that is missing.
        if name not in columns and name not in available:
            hint = f"; the task needs it. Say which one it is: data.columns.{name}=NAME" if name in KNOWN else ""
            if name == CLICK and columns.get(EVENT, EVENT) in available:
                hint += " (or which kinds of events were shown or disliked: data.events)"
            raise missing_column(name, available, origin, hint)


def _with_history(interactions: Interactions, histories: Histories, at_least: int, origin: str) -> Interactions:
    """The interactions without rows of a shorter history in any part; the rows are counted in `dropped`."""
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
