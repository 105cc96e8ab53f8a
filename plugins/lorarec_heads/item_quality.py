"""ItemQuality: how much better than the mean an item is liked, by everyone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn

from lorarec.contracts import Interactions

OWN, TEXT, COLUMN = 0.02, 0.03, 0.02
"""Variances of what is told by the item alone, by its text, and by each column: those of a probability of liking,
found on TALLRec's validation rows; only their order of size matters."""

SHARES = ("share", "own_share")
"""Columns of training examples that say how much of the prior each fact bears."""


class ItemQuality(nn.Module):
    """A Gaussian prior over the qualities of items, and their most likely values.

    The quality of an item is a weight of its own + a linear function of its text + one of each of its columns, so that
    an item never seen in training is judged by what it has in common with others. The weights are stored in units of
    their prior standard deviations; `penalty` is the prior's share of one fact.
    """

    seen: Tensor

    def __init__(self, seen: np.ndarray, text_size: int, columns: Sequence[int]) -> None:
        """`seen` [N]: which items may have weights of their own, those of training; empty for none. `text_size`: 0
        for none; `columns`: size of each."""
        super().__init__()
        self.own = nn.Parameter(torch.zeros(len(seen))) if len(seen) else None
        self.register_buffer("seen", torch.from_numpy(seen).float())
        self.text = nn.Parameter(torch.zeros(text_size)) if text_size else None
        self.columns = nn.ParameterList(torch.zeros(size) for size in columns)

    def forward(self, items: Tensor, texts: Tensor | None, columns: Sequence[Tensor]) -> Tensor:
        """[V] of catalogue rows [V], whose unit text vectors are [V, D], and whose columns' [V, F]."""
        quality = torch.zeros(len(items), device=items.device)
        if self.own is not None:
            quality = quality + OWN**0.5 * self.own[items] * self.seen[items]
        if self.text is not None and texts is not None:
            quality = quality + TEXT**0.5 * (texts @ self.text)
        for column, weight in zip(columns, self.columns, strict=True):
            quality = quality + COLUMN**0.5 * (column @ weight)
        return quality

    def penalty(self, items: Tensor, own_share: Tensor, share: Tensor) -> Tensor:
        """[] minus the log of the prior. items [F] of the facts; own_share [F] one over how many facts an item has;
        share [F] one over how many there are: over all facts the whole prior is counted once."""
        shared = [weight for weight in (self.text, *self.columns) if weight is not None]
        found = share.sum() * sum((0.5 * weight.square().sum() for weight in shared), start=share.new_zeros(()))
        if self.own is not None:
            found = found + (0.5 * own_share * self.own[items].square()).sum()
        return found


def with_shares(examples: Dataset, interactions: Interactions) -> Dataset:
    """Training examples with the columns that `ItemQuality.penalty` reads, so that one epoch counts the prior once.

    An example may hold several facts, in columns `event` (and `item`), `rival1_event` and so on. The items of facts
    that are drawn anew in each epoch (column `draw`) are not known: each fact bears as much there.
    """
    plain = examples.with_format("numpy")
    prefixes = [name.removesuffix("event") for name in examples.column_names if name.endswith("event")]
    facts = len(examples) * len(prefixes)
    if "draw" in examples.column_names:
        own = {prefix: np.full(len(examples), (interactions.item.max() + 1) / facts) for prefix in prefixes}
    else:
        named = "item" in examples.column_names
        items = {p: np.asarray(plain[f"{p}item"] if named else interactions.item[plain[f"{p}event"]]) for p in prefixes}
        counts = np.bincount(np.concatenate(list(items.values())))
        own = {prefix: 1.0 / counts[found] for prefix, found in items.items()}
    for prefix in prefixes:
        examples = examples.add_column(f"{prefix}share", np.full(len(examples), 1.0 / facts))
        examples = examples.add_column(f"{prefix}own_share", own[prefix])
    return examples
