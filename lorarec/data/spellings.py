"""Ids that may be two spellings of one: they are different, since ids are text, and the data report notes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.errors import DataError

_UNICODE = "characters that look the same (Unicode)"


def _plain_characters(text: str) -> str:
    """Composed characters, and none that is invisible, such as a byte order mark."""
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")


_CAUSES: Mapping[str, Callable[[str], str]] = {
    "leading zeros": lambda text: text.lstrip("0"),
    "a .0 at the end": lambda text: text.removesuffix(".0"),
    "capital letters": str.casefold,
    "blanks around it": str.strip,
    _UNICODE: _plain_characters,
}
"""In what two spellings of an id may differ, and what is left of an id without that."""


def other_spellings(ids: pa.Array, listed: int, used: Sequence[np.ndarray], files: tuple[str, str]) -> tuple[str, ...]:
    """A note where some of the items are other spellings of ids of the item table.

    `ids` [N] begin with those of the item table; `used` are the indexes of the interactions' items; `files` are those
    of the interactions and of the items. Raises DataError where no item is in the item table.
    """
    others, rest = ids[:listed].to_pylist(), ids[listed:].to_pylist()
    cause, twins = _twins(rest, others)
    if rest and not any((codes < listed).any() for codes in used):
        example = f", such as '{others[0]}'" if others else ""
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


def _twins(rest: Sequence[str], others: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """In what ids differ from others, and the pairs of them."""
    for cause, plain in _CAUSES.items() if rest else ():
        spelled = {plain(other): other for other in others}
        if twins := [(one, spelled[plain(one)]) for one in rest if plain(one) in spelled]:
            return cause, twins
    return "", []


_WITHOUT: Mapping[str, tuple[str, Callable[[pa.Array], pa.Array]]] = {
    "leading zeros": ("^0", lambda ids: pc.utf8_ltrim(ids, "0")),
    "a .0 at the end": (r"\.0$", lambda ids: pc.replace_substring_regex(ids, r"\.0$", "")),
    "blanks around it": (r"^\s|\s$", pc.utf8_trim_whitespace),
    _UNICODE: (r"[^\x00-\x7F]", lambda ids: pc.replace_substring_regex(pc.utf8_normalize(ids, "NFKC"), r"\p{Cf}", "")),
}
"""As _CAUSES, for all ids at once: a pattern that some id must have, and what is left. Ids that differ in capital
letters are common where programs draw them."""


def two_spellings(ids: pa.Array, where: str) -> tuple[str, ...]:
    """A note where ids of one column, all of them different, may be spellings of others; `where` names file and
    column."""
    for cause, (pattern, plain) in _WITHOUT.items():
        if not pc.any(pc.match_substring_regex(ids, pattern)).as_py():
            continue
        encoded = plain(ids).dictionary_encode()
        if more := len(ids) - len(encoded.dictionary):
            codes = encoded.indices.to_numpy(zero_copy_only=False)
            one, other = np.flatnonzero(codes == np.argmax(np.bincount(codes) > 1))[:2].tolist()
            example = f"'{ids[one].as_py()}' and '{ids[other].as_py()}' differ in {cause}"
            count = f"{more:,} ids may be other spellings" if more > 1 else "1 id may be another spelling"
            return (f"{where}: {count} of an id in other rows: {example}. Ids are text: write them the same way",)
    return ()
