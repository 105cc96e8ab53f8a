"""ItemTokens: the whole catalog, tokenized once, cached on disk and read from there."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from lorarec.contracts import Catalog, LorarecError
from lorarec_backbones.templates import parse

CHUNK = 20_000
"""Items tokenized at a time: bounds memory, and is enough for the tokenizer's threads."""


class ItemTokens:
    """Token ids of N items, without special tokens, memory-mapped; a pickle holds the file's name only."""

    def __init__(self, stem: Path) -> None:
        self.stem = stem
        # Plain arrays over the maps: slicing np.memmap itself is many times slower.
        self._tokens: np.ndarray = np.load(_tokens_file(stem), mmap_mode="r").view(np.ndarray)
        self._starts: np.ndarray = np.load(_starts_file(stem), mmap_mode="r").view(np.ndarray)

    def __reduce__(self) -> tuple[type[ItemTokens], tuple[Path]]:
        return ItemTokens, (self.stem,)

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
    """Tokens of every item written by `template` after the string `lead`, from the cache if already there.

    The cache is in the folder of Hugging Face's data sets (HF_DATASETS_CACHE), under a hash of tokenizer and texts.
    Several processes may do this at once: each writes a temporary file and renames it. Raises LorarecError if the
    cache cannot be written.
    """
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "lorarec_item_tokens"
    stem = folder / _key(catalog, template, lead, tokenizer)
    if not _starts_file(stem).exists():
        pieces = [np.empty(0, np.int32)]
        lengths = [np.zeros(1, np.int64)]
        for texts in _written_items(catalog, template, lead):
            encoded = tokenize(tokenizer, texts)
            lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            pieces.append(np.fromiter((token for ids in encoded for token in ids), np.int32))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(_tokens_file(stem), np.concatenate(pieces))
            _write(_starts_file(stem), np.cumsum(np.concatenate(lengths)))
        except OSError as error:
            raise LorarecError(
                f"cannot store the catalog's tokens in {folder}: {error.strerror}. "
                "Free some space, or set HF_DATASETS_CACHE to a writable folder."
            ) from error
    return ItemTokens(stem)


def tokenize(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of each text without special tokens, also where a text spells one out."""
    if not texts:
        return []
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)
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


def _tokens_file(stem: Path) -> Path:
    return stem.with_suffix(".tokens.npy")


def _starts_file(stem: Path) -> Path:
    """Written last: if it exists, the tokens are complete."""
    return stem.with_suffix(".starts.npy")


def _write(file: Path, array: np.ndarray) -> None:
    handle, temporary = tempfile.mkstemp(prefix=file.stem, suffix=".temporary", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, array)
        os.replace(temporary, file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
