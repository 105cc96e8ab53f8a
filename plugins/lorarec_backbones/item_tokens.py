"""ItemTokens: the whole catalog, tokenized once, cached on disk and read from there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lorarec.contracts import Cached, Catalog, LorarecError, cached, read_cached
from lorarec_backbones.checkpoint import first_line, is_fault
from lorarec_backbones.templates import parse

KIND = "item_tokens"
"""The folder in lorarec's cache."""
CHUNK = 20_000
"""Items tokenized at a time: bounds memory, and is enough for the tokenizer's threads."""


class ItemTokens:
    """Token ids of N items, without special tokens, memory-mapped; a pickle holds the file's name only."""

    def __init__(self, entry: Cached) -> None:
        self._entry = entry
        numbers = np.frombuffer(entry.content, np.int64)
        self._starts: np.ndarray = numbers[-2 - numbers[-1] : -1]
        self._tokens: np.ndarray = np.frombuffer(entry.content, np.int32)[: self._starts[-1]]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (ItemTokens, (self._entry,)) if self._entry.file is None else (_opened, (self._entry.file,))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """[n] int32 token ids of one item."""
        return self._tokens[self._starts[row] : self._starts[row + 1]]

    def lengths(self, rows: np.ndarray | None = None) -> np.ndarray:
        """[n] int64 number of tokens of these items (of all by default)."""
        if rows is None:
            return np.diff(self._starts)
        lengths: np.ndarray = self._starts[rows + 1] - self._starts[rows]
        return lengths

    def largest(self) -> int:
        """The largest token id, -1 if there is none."""
        return int(self._tokens.max(initial=-1))


def item_tokens(catalog: Catalog, template: str, lead: str, tokenizer: Any) -> ItemTokens:
    """Tokens of every item written by `template` after the string `lead`, from the cache if already there, under a hash
    of tokenizer and texts."""

    def write(sink: pa.NativeFile) -> None:
        """The tokens (int32, an even number of them), the N + 1 starts, and N (int64)."""
        starts = [np.zeros(1, np.int64)]
        for texts in _written_items(catalog, template, lead):
            encoded = tokenize(tokenizer, texts)
            sink.write(np.fromiter((token for ids in encoded for token in ids), np.int32).tobytes())
            starts.append(starts[-1][-1] + np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded))))
        sink.write(np.zeros(starts[-1][-1] % 2, np.int32).tobytes())
        sink.write(np.concatenate([*starts, [len(catalog)]]).tobytes())

    return ItemTokens(cached(KIND, _key(catalog, template, lead, tokenizer), write))


def _opened(file: Path) -> ItemTokens:
    content = read_cached(file)
    if content is None:
        raise LorarecError(f"{file} is missing or was changed. Run the command again.")
    return ItemTokens(Cached(content, file))


def tokenize(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of each text without special tokens, also where a text spells one out.

    Raises LorarecError if the tokenizer fails, as one that has no token for unknown words.
    """
    if not texts:
        return []
    try:
        encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)
    except BaseException as error:
        if not is_fault(error):
            raise
        raise LorarecError(
            f"The tokenizer of the backbone cannot read a text of {max(map(len, texts)):,} characters or less: "
            f"{first_line(error)}. Correct its tokenizer.json, or use another checkpoint."
        ) from error
    return list(encoded["input_ids"])


def _written_items(catalog: Catalog, template: str, lead: str) -> Iterator[list[str]]:
    fields = {field for _, field in parse(template)}
    for start in range(0, len(catalog), CHUNK):
        rows = range(start, min(start + CHUNK, len(catalog)))
        blank = [""] * len(rows)
        texts = catalog.texts(rows) if "text" in fields else blank
        titles = catalog.titles(rows) if "title" in fields else blank
        yield [
            lead + template.format(text=text.strip(), title=title.strip())
            for text, title in zip(texts, titles, strict=True)
        ]


def _key(catalog: Catalog, template: str, lead: str, tokenizer: Any) -> str:
    digest = hashlib.sha256()
    if tokenizer.is_fast:
        digest.update(tokenizer.backend_tokenizer.to_str().encode())
    else:
        digest.update(f"{type(tokenizer)} {tokenizer.init_kwargs} {sorted(tokenizer.get_vocab().items())}".encode())
    for texts in _written_items(catalog, template, lead):
        digest.update("".join(f"{len(text)}:{text}" for text in texts).encode(errors="surrogatepass"))
    return digest.hexdigest()
