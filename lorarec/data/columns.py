"""Names of the columns lorarec knows, in one place, and how they are found among a source's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lorarec.config.suggest import did_you_mean
from lorarec.errors import DataError

USER = "user"
ITEM = "item"
TIME = "time"
RATING = "rating"
CLICK = "click"
EVENT = "event"
HISTORY = "history"
HISTORY_FEEDBACK = "history_feedback"
WEIGHT = "weight"
SPLIT = "split"

KNOWN = (USER, ITEM, TIME, RATING, CLICK, EVENT, WEIGHT, HISTORY, HISTORY_FEEDBACK, SPLIT)


def resolve_columns(available: Sequence[str], columns: Mapping[str, str], origin: str) -> dict[str, str]:
    """lorarec's name -> the source's, for every known column the source has.

    A name that `columns` does not map stands for itself, but for WEIGHT: a column may be called so that says what a
    parcel weighs. Raises DataError for a name lorarec does not know,
    for a mapped column that is not there, and where no item, or neither user nor history, can be found.
    """
    for name, source in columns.items():
        if name not in KNOWN:
            raise DataError(
                f"data.columns: lorarec knows no column '{name}'.{did_you_mean(name, KNOWN)} "
                f"It knows {', '.join(KNOWN)}."
            )
        if source not in available:
            raise missing_column(source, available, origin, f", which data.columns takes for '{name}'")
    looked_for = {name: columns.get(name, name) for name in KNOWN if name in columns or name != WEIGHT}
    found = {name: source for name, source in looked_for.items() if source in available}
    if ITEM not in found:
        raise missing_column(ITEM, available, origin, "; say which one it is: data.columns.item=NAME")
    if USER not in found and HISTORY not in found:
        raise missing_column(
            USER, available, origin,
            "; say which one it is: data.columns.user=NAME (rows that bring their own history, "
            "data.columns.history=NAME, need none)",
        )  # fmt: skip
    if HISTORY_FEEDBACK in found and HISTORY not in found:
        raise DataError(
            f"{origin}: column '{found[HISTORY_FEEDBACK]}' holds the feedback of a history, but no column "
            f"holds the history itself; name it: data.columns.history=NAME. Columns: {', '.join(available)}."
        )
    return found


def missing_column(name: str, available: Sequence[str], origin: str, detail: str = "") -> DataError:
    """The error for a column that a file lacks: file, name, nearest name, and the names there are."""
    there = f"Columns: {', '.join(available)}."
    return DataError(f"{origin}: no column '{name}'{detail}.{did_you_mean(name, available)} {there}")
