"""HTML in texts: found by its tags and entities, and removed."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import is_list

ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});"
TAG = r"</?[a-zA-Z][^<>]*>"
HTML = rf"{ENTITY}|{TAG}|<!--"
UNSEEN = {"script", "style"}
"""Elements that a browser does not show."""
BREAKS = {"br", "p", "div", "li", "ul", "ol", "tr", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6"}
"""Elements that separate words."""


def has_html(column: pa.ChunkedArray) -> np.ndarray:
    """[n] whether a text, or one of a list of texts, has a tag or an entity. "a < b" and "R&B" have none."""
    if not is_list(column.type):
        found: np.ndarray = pc.fill_null(pc.match_substring_regex(column, HTML), False).to_numpy()
        return found
    rows = np.zeros(len(column), bool)
    whole = column.combine_chunks()
    inner = pc.fill_null(pc.match_substring_regex(pc.list_flatten(whole), HTML), False)
    rows[pc.list_parent_indices(whole).to_numpy(zero_copy_only=False)[inner.to_numpy(zero_copy_only=False)]] = True
    return rows


def without_html(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts, or lists of texts, without tags, and with entities as the characters that they stand for. Texts that
    have neither stay as they are."""
    if not is_list(column.type):
        return pa.chunked_array([_stripped(chunk) for chunk in column.chunks], column.type)
    chunks = []
    for chunk in column.chunks:
        plain = pa.array(chunk.to_pylist(), column.type)  # from offset 0 and without hidden values
        values = _stripped(plain.values)
        mask = plain.is_null() if plain.null_count else None
        chunks.append(type(plain).from_arrays(plain.offsets, values, type=column.type, mask=mask))
    return pa.chunked_array(chunks, column.type)


def _stripped(texts: pa.Array) -> pa.Array:
    found = pc.fill_null(pc.match_substring_regex(texts, HTML), False)
    if not pc.any(found).as_py():
        return texts
    words = [_Shown(text).words for text in texts.filter(found).to_pylist()]
    return pc.replace_with_mask(texts, found, pa.array(words, texts.type))


class _Shown(HTMLParser):
    """The words that a browser shows of a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._parts: list[str] = []
        self._unseen = ""
        self.feed(text)
        self.close()

    @property
    def words(self) -> str:
        return " ".join("".join(self._parts).split())

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNSEEN and not self._unseen:
            self._unseen = tag
        self._parts += [" "] * (tag in BREAKS | UNSEEN)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        self._parts += [" "] * (tag in BREAKS)
