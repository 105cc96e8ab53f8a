"""IdFeaturizer: views as sequences of item ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import View
from lorarec_backbones.causal_transformer import HISTORY, ITEM, PAIR


@dataclass(frozen=True)
class IdFeaturizer:
    """Makes `items` [B, L] int64 (catalogue row + 1, left-padded with 0) and `kind` [B] int64.

    Of a history, the latest events that fit are kept; a candidate takes the last position. Feedback is
    not read.
    """

    max_length: int

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Features of B views."""
        items_BL = np.zeros((len(views), max(map(self.length, views))), np.int64)
        kind_B = np.full(len(views), HISTORY, np.int64)
        for row, view in enumerate(views):
            ids = view.history
            if view.candidate is not None:
                ids = (*view.history, view.candidate)
                kind_B[row] = PAIR if view.history else ITEM
            if ids:
                kept = ids[-self.max_length :]
                items_BL[row, -len(kept) :] = np.array(kept, np.int64) + 1
        return {"items": torch.from_numpy(items_BL), "kind": torch.from_numpy(kind_B)}

    def length(self, view: View) -> int:
        """How many positions a view takes; one at least."""
        events = len(view.history) + (view.candidate is not None)
        return min(max(events, 1), self.max_length)
