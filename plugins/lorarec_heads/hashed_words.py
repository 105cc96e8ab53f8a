"""HashedWords: a weight for each word of a text, beside what an encoder makes of the whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

WORD = re.compile(r"\w+|[^\w\s]")
KEPT = 65_536
"""So many texts' buckets are remembered: texts come again each epoch."""


class HashedWords(nn.Module):
    """The wide part of a wide and deep model (Cheng et al., DLRS 2016): linear in the words of a text.

    Words and punctuation marks fall into buckets by a hash, so that there is no vocabulary to keep and texts never
    seen can be scored (Weinberger et al., ICML 2009). All weights start at 0.
    """

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(buckets, 1))

    def forward(self, buckets: Tensor, starts: Tensor) -> Tensor:
        """[V] the sum of each text's weights over the root of their number; `hashed_texts` gives both arguments."""
        counts = torch.diff(starts, append=torch.full_like(starts[:1], len(buckets)))
        sums = nn.functional.embedding_bag(buckets, self.weights, starts, mode="sum").squeeze(1)
        return sums / counts.clamp(min=1).sqrt()


def hashed_texts(texts: Iterable[str], buckets: int) -> tuple[Tensor, Tensor]:
    """The buckets of V texts end to end, [n] int64, and where each text's begin, [V] int64."""
    found = [hashed_text(text, buckets) for text in texts]
    starts = np.cumsum([0, *(len(one) for one in found)])[:-1]
    return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *found])), torch.from_numpy(starts)


@lru_cache(maxsize=KEPT)
def hashed_text(text: str, buckets: int) -> np.ndarray:
    """[n] int64 the distinct buckets of a text's words and marks; small and capital letters are one."""
    # CRC-32 and not hash(), which differs from one process to the next.
    return np.array(sorted({crc32(word.encode()) % buckets for word in WORD.findall(text.lower())}), np.int64)
