"""Item features: columns of the item table as vectors whose dot product says how alike two items are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lorarec.data.catalog import Catalog
from lorarec.errors import DataError

WORDS = 256
"""So many distinct words a column may have: more are names, which the text tells better."""
REACH = 4.0
"""Numbers further than so many standard deviations from the mean count as so far: an outlier would stretch the grid."""


def item_features(catalog: Catalog, columns: Sequence[str], origin: str) -> dict[str, np.ndarray]:
    """[N, F] float32 for each declared column: unit vectors, one an item; 0 where nothing is known.

    Numbers: the dot product falls from 1 like a Gaussian as wide as half the column's standard deviation. Words and
    lists of words: the cosine of the sets. Raises DataError naming a column that is missing or of another kind.
    """
    return {
        name: _features(catalog.column(name), f"item table of {origin}, column '{name}'").astype(np.float32)
        for name in columns
    }


def _features(column: pa.ChunkedArray, place: str) -> np.ndarray:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _number_features(column.cast(pa.float64()).to_numpy(), place)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    inner = kind.value_type if is_list else kind
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner)):
        raise DataError(f"{place}: items are compared by numbers, words and lists of words, not by {kind}.")
    values = column.to_pylist()
    return _word_features(values if is_list else [None if value is None else [value] for value in values], place)


def _number_features(values: np.ndarray, place: str) -> np.ndarray:
    """Gaussian bumps on a grid: their product is a Gaussian again, and its width is the distance of the bumps."""
    known = np.isfinite(values)
    spread = values[known].std() if known.any() else 0.0
    if spread == 0.0:
        raise DataError(f"{place}: all items have the same number, or none: it tells them apart by nothing.")
    width, mean = spread / 2, values[known].mean()
    near = np.clip(np.where(known, values, mean), mean - REACH * spread, mean + REACH * spread)
    grid = np.arange(near.min() - width, near.max() + 2 * width, width)
    return _unit(np.exp(-(((near[:, None] - grid) / width) ** 2)) * known[:, None])


def _word_features(values: Sequence[list[Any] | None], place: str) -> np.ndarray:
    words = sorted({word for row in values for word in row or () if word})
    if not 2 <= len(words) <= WORDS:
        raise DataError(
            f"{place}: {len(words)} distinct words; from 2 to {WORDS} can be compared. Put a column of names into "
            "data.item_text instead."
        )
    place_of = {word: number for number, word in enumerate(words)}
    features = np.zeros((len(values), len(words)))
    for row, held in enumerate(values):
        features[row, [place_of[word] for word in held or () if word]] = 1.0
    return _unit(features)


def _unit(features: np.ndarray) -> np.ndarray:
    unit: np.ndarray = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return unit
