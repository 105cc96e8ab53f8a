"""Ids that may be two spellings of one: they are different, since ids are text, and the data report notes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.errors import DataError


class _Cause(NamedTuple):
    """In what two spellings of an id may differ."""

    name: str
    pattern: str
    """One of the two spellings has it."""
    plain: Callable[[pa.Array], pa.Array]
    """What is left of ids without that."""
    one_column: bool = True
    """Whether ids of one column are compared by it: those that differ in capital letters are common where programs draw
    them."""


_CAUSES = (
    _Cause("leading zeros", "^0", lambda ids: pc.utf8_ltrim(ids, "0")),
    _Cause("a .0 at the end", r"\.0$", lambda ids: pc.replace_substring_regex(ids, r"\.0$", "")),
    _Cause("capital letters", r"\p{Lu}", pc.utf8_lower, one_column=False),
    _Cause("blanks around it", r"^\s|\s$|[^\x00-\x7F]", pc.utf8_trim_whitespace),
    _Cause(
        "characters that look the same (Unicode)",
        r"[^\x00-\x7F]",
        # Composed characters, and none that is invisible, such as a byte order mark.
        lambda ids: pc.replace_substring_regex(pc.utf8_normalize(ids, "NFKC"), r"\p{Cf}", ""),
    ),
)


def plain_id(text: str) -> str:
    """An id without capital letters, blanks around it and characters that look the same."""
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return text.strip().casefold()


def other_spellings(ids: pa.Array, listed: int, used: Sequence[np.ndarray], files: tuple[str, str]) -> tuple[str, ...]:
    """A note where some of the items are other spellings of ids of the item table.

    `ids` [N] begin with those of the item table; `used` are the indexes of the interactions' items; `files` are those
    of the interactions and of the items. Raises DataError where no item is in the item table.
    """
    others, rest = ids[:listed], ids[listed:]
    cause, twins = _twins(rest, others)
    if len(rest) and not any((codes < listed).any() for codes in used):
        example = f", such as '{others[0]}'" if listed else ""
        likely = f": '{twins[0][0]}' and '{twins[0][1]}' differ in {cause}" if twins else ""
        raise DataError(
            f"No item of {files[0]} (such as '{rest[0]}') is in the item table of {files[1]}{example}{likely}. Write "
            "the ids the same way in both, name the right columns under data.columns, or read all items as their ids "
            "with data.unlisted_items=all."
        )
    if not twins:
        return ()
    one, other = twins[0]
    return (
        f"{files[0]}: {len(twins):,} of the items that are not in the item table may be other spellings of its ids: "
        f"'{one}' and '{other}' differ in {cause}. Ids are text: write them the same way in both files",
    )


def _twins(rest: pa.Array, others: pa.Array) -> tuple[str, list[tuple[str, str]]]:
    """In what ids differ from others, and the pairs of them."""
    for cause in _CAUSES if len(rest) and len(others) else ():
        if _has(rest, cause) or _has(others, cause):
            row = pc.index_in(cause.plain(rest), value_set=cause.plain(others))
            if twin := row.is_valid().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
                pairs = zip(rest.take(twin).to_pylist(), others.take(row.take(twin)).to_pylist(), strict=True)
                return cause.name, list(pairs)
    return "", []


def _has(ids: pa.Array, cause: _Cause) -> bool:
    return bool(pc.any(pc.match_substring_regex(ids, cause.pattern)).as_py())


def two_spellings(ids: pa.Array, where: str) -> tuple[str, ...]:
    """A note where ids of one column, all of them different, may be spellings of others; `where` names file and
    column."""
    for cause in _CAUSES:
        if not cause.one_column or not _has(ids, cause):
            continue
        encoded = cause.plain(ids).dictionary_encode()
        if more := len(ids) - len(encoded.dictionary):
            codes = encoded.indices.to_numpy(zero_copy_only=False)
            one, other = np.flatnonzero(codes == np.argmax(np.bincount(codes) > 1))[:2].tolist()
            example = f"'{ids[one].as_py()}' and '{ids[other].as_py()}' differ in {cause.name}"
            count = f"{more:,} ids may be other spellings" if more > 1 else "1 id may be another spelling"
            return (f"{where}: {count} of an id in other rows: {example}. Ids are text: write them the same way",)
    return ()
