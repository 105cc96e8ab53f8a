"""CtrNetwork: the logit of a click, and its loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import Batch, Encoder, PairHead, PairScore, Statistics
from lorarec_heads.history_signals import HistorySignals

if TYPE_CHECKING:
    from lorarec_heads.ctr import Ctr


class CtrNetwork(PairHead):
    """Logit of a click: base rate + what the history says + item bias, or the joint text's score."""

    seen: Tensor
    base: Tensor

    def __init__(self, config: Ctr.Config, hidden_size: int, statistics: Statistics) -> None:
        super().__init__()
        self._config = config
        self.loss = config.loss.build(statistics)
        separate = config.encoding == "separate"
        # Losses that compare give what shifts all logits alike rounding errors for gradients: AdamW would amplify them.
        shifts = not config.compares
        self.pair = None if separate else PairScore(hidden_size, shifts=shifts)
        counts, rated = np.asarray(statistics.item_counts), statistics.items_with_rows()
        # Liked shares speak of the base rate already; drawn items have one by construction.
        start = -math.log(config.negatives) if config.negatives else 0.0
        self.signals = HistorySignals(hidden_size if separate else 0, explicit=not config.negatives)
        self.text_bias = _text_bias(hidden_size, shifts) if separate else None
        self.bias = nn.Parameter(torch.zeros(len(counts))) if config.biases else None
        self.register_buffer("seen", torch.from_numpy(rated).float())
        if shifts:
            self.base = nn.Parameter(torch.tensor(start))
        else:
            self.register_buffer("base", torch.tensor(start))

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] the loss of each fact's logit, or of each contest's logits."""
        logits, labels = self._logits(encode, batch), batch.tensors["labels"]
        given = (logits.view(batch.count, -1),) if self._config.compares else (logits, labels)
        losses: Tensor = self.loss(*given)
        return losses

    def regularizer(self, batch: Batch) -> Tensor | None:
        """[] L2 on the biases of the targets' items."""
        if self.bias is None:
            return None
        candidates = batch.tensors["items"][batch.tensors["candidate"]]
        squares = self.bias[candidates].square().view(batch.count, -1).sum(dim=1)
        return self._config.bias_penalty * batch.total(squares)

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] probabilities of a click."""
        return self._logits(encode, batch).sigmoid()

    def _logits(self, encode: Encoder, batch: Batch) -> Tensor:
        tensors = batch.tensors
        texts = encode.vectors("items" if self.pair is None else "pairs").float()
        # Under mixed precision the signals would lose digits that the gradients need.
        with torch.autocast(texts.device.type, enabled=False):
            candidate, items = tensors["candidate"], tensors["items"]
            per_item = texts if self.pair is None else None
            seen = tuple(tensors[name] for name in ("history", "owner", "mask", "liked"))
            logits: Tensor = self.base + self.signals(per_item, candidate, *seen)
            if self.pair is not None:
                logits = logits + self.pair(texts)[tensors["pair"]]
            if self.text_bias is not None:
                logits = logits + self.text_bias(texts).squeeze(1)[candidate]
            if self.bias is not None:
                logits = logits + self.bias[items[candidate]] * self.seen[items[candidate]]
            return logits


def _text_bias(size: int, shifts: bool) -> nn.Module:
    """A linear function of the text, 0 at first; `shifts`: whether it may be one number for all texts."""
    layer = nn.Linear(size, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return nn.Sequential(nn.LayerNorm(size, bias=shifts), layer)
