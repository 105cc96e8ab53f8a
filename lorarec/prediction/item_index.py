"""ItemIndex: a user's best items without a look at the whole catalogue. An extra, which needs faiss.

Measured on one thread with made-up vectors of 65 numbers that have structure, of the exact ten best 99% found:

| items | built in | one user, exactly | by the index | a user among many, exactly | by the index |
|-|-|-|-|-|-|
| 100,000 | 0.6 s | 5 ms | 1.6 ms | 1.2 ms | 0.8 ms |
| 1,000,000 | 9 s | 28 ms | 2.8 ms | 11 ms | 1.9 ms |

So it pays in a process that stays and answers one history after the other from a catalogue of 100,000 items or more;
among many histories at a million items from about a thousand of them on; and not for small catalogues. Vectors
without any structure have no near neighbours to find: at random ones it found half.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.errors import LorarecError
from lorarec.prediction.ranking import top_items

PROBED = 64
"""Lists looked through for a user; catalogues of up to 64 * 64 items are looked through whole."""
SPARE = 4
"""The lists looked through hold so many times the items that are asked for."""
TRAINED_ON = 64
"""Items a list that its centre is learned from."""


class ItemIndex:
    """N item vectors in about sqrt(N) lists of like ones (Sivic and Zisserman, ICCV 2003; Johnson et al., 2017).

    The largest dot product is made the nearest neighbour by one more number, which brings all items to one length
    (Bachrach et al., RecSys 2014). Graphs (HNSW) took ten times as long to build and found fewer.
    """

    def __init__(self, vectors_ND: Tensor) -> None:
        """Raises LorarecError if faiss is not installed."""
        faiss = _faiss()
        self._vectors = vectors_ND
        self._lists = max(1, math.isqrt(len(vectors_ND)))
        vectors = vectors_ND.cpu().numpy()
        squared = np.square(vectors).sum(axis=1)
        level = np.column_stack([vectors, np.sqrt(squared.max() - squared)])
        width = level.shape[1]
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, self._lists, faiss.METRIC_L2)
        self._index.cp.niter = 10
        self._index.cp.max_points_per_centroid = TRAINED_ON
        self._index.cp.min_points_per_centroid = 1  # else it warns of small catalogues
        self._index.train(level)
        self._index.add(level)

    def best(self, users_BD: Tensor, k: int, seen: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """The best k catalogue rows [B, k] that were found for each user, and their exact scores [B, k]; `seen` holds
        catalogue rows to leave out. Places for which nothing was found hold row -1."""
        wanted = k + max((len(items) for items in seen), default=0)
        rows = self._nearest(users_BD, min(wanted, len(self._vectors)))
        scores = (self._vectors[rows] * users_BD[:, None]).sum(dim=2)
        left_out = np.stack([np.isin(found, had) for found, had in zip(rows.cpu().numpy(), seen, strict=True)])
        scores[(rows < 0) | torch.from_numpy(left_out).to(rows.device)] = -torch.inf
        places, best = top_items(scores, k)
        return torch.where(places < 0, -1, rows.gather(1, places.clamp(min=0))), best

    def _nearest(self, users_BD: Tensor, count: int) -> Tensor:
        """[B, count] catalogue rows, ascending, so that equal scores keep the order of the catalogue; -1 for none."""
        users = users_BD.cpu().numpy()
        self._index.nprobe = max(PROBED, SPARE * count // self._lists)
        _, rows = self._index.search(np.column_stack([users, np.zeros(len(users), users.dtype)]), count)
        return torch.from_numpy(np.sort(rows, axis=1)).to(users_BD.device)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise LorarecError(
            "approximate answers need faiss, which is not installed: pip install 'lorarec[index]'. Or leave "
            "approximate out: the exact answer needs nothing more."
        ) from error
    return faiss
