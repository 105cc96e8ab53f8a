"""HTML in texts: found by its tags and entities, and removed."""

from __future__ import annotations

from html import unescape

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lorarec.data.columns import is_list

ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});"
ATTRIBUTES = """(?:(?:[^<>"']|"[^"<]*"|'[^'<]*')*|[^<>]*)"""
TAG = f"</?[a-zA-Z]{ATTRIBUTES}>"
CDATA = r"(?s)<!\[CDATA\[(.*?)\]\]>"
HTML = rf"{ENTITY}|{TAG}|<!--|<!\[CDATA\["
UNSEEN = r"(?is)<!--.*?-->|<script\b.*?</script\s*>|<style\b.*?</style\s*>"
"""What a browser does not show."""
BREAK = rf"(?i)</?(?:br|p|div|li|ul|ol|tr|td|th|h[1-6])(?:\s{ATTRIBUTES}|/)?>"
"""Tags that separate words."""


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
    plain = texts.filter(found)
    # html.parser drops the words after a "<" that begins no tag, and CDATA; these expressions take linear time.
    for pattern, instead in ((CDATA, r"\1"), (UNSEEN, " "), (BREAK, " "), (TAG, "")):
        plain = pc.replace_substring_regex(plain, pattern, instead)
    words = [" ".join(unescape(text).split()) for text in plain.to_pylist()]
    return pc.replace_with_mask(texts, found, pa.array(words, texts.type))
