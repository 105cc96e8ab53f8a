"""HistorySignals: what a history says about a candidate before anything is learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lorarec.contracts import TextCosine, pair_products

NAMES = ("liked_share", "liked_likeness", "nearest_liked", "likeness", "nearest")
EXPLICIT = (1.0, 1.5, 0.7, 0.0, 0.0)
"""Weights to start from where the histories say what was liked."""
IMPLICIT = (0.0, 0.0, 0.0, 4.0, 4.0)
"""Weights to start from where they say only what was chosen."""


class HistorySignals(nn.Module):
    """A weighted sum, in logits, of five signals that need no training.

    liked_share: log odds of the share of the history that was liked, shrunk to a half. liked_likeness: mean
    cosine of the candidate's text with those of the history, counted against where an item was not liked.
    nearest_liked: whether the items nearest to the candidate were liked (attention with a learned sharpness,
    after DIN; Zhou et al., KDD 2018). likeness and nearest: mean and nearest cosine, liked or not. Signals
    start with sensible weights, since they beat much larger models that must find them by themselves.
    """

    def __init__(self, text_size: int, explicit: bool) -> None:
        """`text_size`: length of the text vectors, 0 to use liked_share alone."""
        super().__init__()
        start = EXPLICIT if explicit else IMPLICIT
        self.text = TextCosine(text_size) if text_size else None
        self.weight = nn.Parameter(torch.tensor(start if text_size else start[:1]))
        if text_size:
            self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(
        self, texts: Tensor | None, candidate: Tensor, history: Tensor, owner: Tensor, mask: Tensor, liked: Tensor
    ) -> Tensor:
        """[F] logits.

        texts [V, D] of distinct items; candidate [F] and history [H, L] places among them; owner [F] which of the H
        histories belongs to each fact; mask [H, L] true where there is an event; liked [H, L]: 1 liked, -1 not, 0
        unknown.
        """
        signals = [_log_odds(liked * mask)[owner]]
        if self.text is not None:
            assert texts is not None
            unit = self.text(texts)
            mask, liked = mask[owner], liked[owner]
            cosine = pair_products(unit, candidate, unit[history], owner) * mask
            near = _attention(cosine * self.log_sharpness.exp(), mask)
            count = mask.sum(dim=1).clamp(min=1)
            signals += [
                (liked * cosine).sum(dim=1) / count,
                (near * liked).sum(dim=1),
                cosine.sum(dim=1) / count,
                (near * cosine).sum(dim=1),
            ]
        return torch.stack(signals, dim=1) @ self.weight


def _log_odds(liked: Tensor) -> Tensor:
    """[F] log((liked + 1) / (not liked + 1)): 0 for an empty history."""
    return torch.log1p((liked > 0).sum(dim=1).float()) - torch.log1p((liked < 0).sum(dim=1).float())


def _attention(logits: Tensor, mask: Tensor) -> Tensor:
    """[F, L] softmax over the events; all 0 for an empty history."""
    weights = logits.masked_fill(~mask, -1e9).softmax(dim=1)
    return weights * mask
