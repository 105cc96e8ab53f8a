"""UserRidge: the quality of an item for all users, and the user's taste for it, inferred from the history."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import ItemEmbedding, pair_products

CONSTANT, TEXT, COLUMN, NOISE = 0.03, 0.03, 0.015, 0.17
"""Initial variances of a user's bias, of taste by text and by each column, and of the noise, all of a probability of
liking; chosen on TALLRec's validation rows."""
FACTORS, START = 0.015, 0.1
"""Initial variance of taste by item factors; and the standard deviation of initial factors, whose prior is 1."""
OWN, TEXT_QUALITY, COLUMN_QUALITY = 0.02, 0.03, 0.02
"""Prior variances of an item's quality by its id, by its text, and by each column, of a probability of liking, chosen
on TALLRec's validation rows; only their order of magnitude matters."""
GRAM_LIMIT = 4096
"""Up to this number of distinct items, all their products are computed once and looked up: at most 64 MiB."""


class UserRidge(nn.Module):
    """liked = mean + quality of the item + taste of the user for it + noise, where taste is a Gaussian process over a
    constant (the user's bias), the texts, the columns, and item factors.

    The quality (maximum a posteriori) is learned from all targets; taste is computed in closed form from each history
    (`kernel_ridge`), so that new users need no weights. Since each target is predicted from the events before it, the
    sum of losses is the negative log-likelihood of a user's whole sequence, by the chain rule.
    """

    def __init__(
        self,
        mean: float,
        seen: np.ndarray,
        text_size: int,
        features: Sequence[np.ndarray],
        unlabeled: float,
        factors: ItemEmbedding | None = None,
    ) -> None:
        """`mean`: share of likes; `seen` [N]: which items have a learned quality; `text_size`: 0 to compare no
        texts; `features`: columns of all items [N, F]; `unlabeled`: the feedback of an event without any (1
        liked, -1 disliked, 0 unknown); `factors`: vectors by which training items are compared as well."""
        super().__init__()
        self._unlabeled = unlabeled
        self._columns = [f"column_{number}" for number in range(len(features))]
        for name, matrix in zip(self._columns, features, strict=True):
            self.register_buffer(name, torch.from_numpy(matrix), persistent=False)
        self.quality = ItemQuality(seen, text_size, [matrix.shape[1] for matrix in features])
        self.factors = factors
        start = [CONSTANT] + [TEXT] * bool(text_size) + [COLUMN] * len(features) + [FACTORS] * (factors is not None)
        self.log_variance = nn.Parameter(torch.tensor(start).log())
        self.log_noise = nn.Parameter(torch.tensor(math.log(NOISE)))
        self.mean = nn.Parameter(torch.tensor(mean))
        # A learned slope of the quality would circumvent its prior: smaller weights, scaled up, cost less.
        self._slope = 1 / (mean * (1 - mean))
        self.log_slope = nn.Parameter(torch.tensor(math.log(self._slope)))

    def forward(
        self, items: Tensor, texts: Tensor | None, candidate: Tensor, history: Tensor, owner: Tensor, mask: Tensor,
        liked: Tensor,
    ) -> Tensor:  # fmt: skip
        """[T] logits relative to the base rate.

        items [V] distinct catalog rows, their text vectors [V, D]; candidate [T] and history [H, L] indices of
        their rows; owner [T] the history of each target; mask [H, L] true where there is an event; liked [H, L]: 1
        liked, -1 disliked, 0 unknown.
        """
        unit = None
        if texts is not None:
            unit = nn.functional.normalize(nn.functional.layer_norm(texts, texts.shape[-1:]), dim=-1)
        columns = [self.get_buffer(name)[items] for name in self._columns]
        quality = self.quality(items, unit, columns)
        parts = [torch.ones(len(items), 1, device=items.device), *([] if unit is None else [unit]), *columns]
        if self.factors is not None:
            factors = self.factors(items)
            parts.append(factors / factors.shape[1] ** 0.5)
        scale = (0.5 * self.log_variance).exp()
        features = torch.cat([scale[number] * part for number, part in enumerate(parts)], dim=1)
        liked = torch.where(liked == 0, self._unlabeled, liked)
        residual = (liked + 1) / 2 - self.mean - quality[history]
        known = mask & (liked != 0)
        taste = kernel_ridge(features, candidate, history, owner, residual, known, self.log_noise.exp())
        logits: Tensor = self._slope * quality[candidate] + self.log_slope.exp() * taste
        return logits

    def penalty(self, items: Tensor, own_share: Tensor, share: Tensor) -> Tensor:
        """[] minus the log of the priors of quality and factors, with the shares of `ItemQuality.penalty`."""
        penalty = self.quality.penalty(items, own_share, share)
        if self.factors is not None:
            penalty = penalty + (0.5 * own_share * self.factors(items).square().sum(dim=1)).sum()
        return penalty


class ItemQuality(nn.Module):
    """A Gaussian prior over the qualities of items, and their most likely values.

    The quality of an item is a learned weight + a linear function of its text + one of each of its columns, so that a
    new item is scored by what it has in common with others. The weights are stored in units of their prior standard
    deviations; `penalty` is the part of the prior that the given targets count.
    """

    seen: Tensor

    def __init__(self, seen: np.ndarray, text_size: int, columns: Sequence[int]) -> None:
        """`seen` [N]: which items have a learned weight, those of training; empty for none. `text_size`: 0 for none;
        `columns`: size of each."""
        super().__init__()
        self.own = nn.Parameter(torch.zeros(len(seen))) if len(seen) else None
        self.register_buffer("seen", torch.from_numpy(seen).float())
        self.text = nn.Parameter(torch.zeros(text_size)) if text_size else None
        self.columns = nn.ParameterList(torch.zeros(size) for size in columns)

    def forward(self, items: Tensor, texts: Tensor | None, columns: Sequence[Tensor]) -> Tensor:
        """[V] qualities of catalog rows [V], whose unit text vectors are [V, D] and whose columns are [V, F]."""
        quality = torch.zeros(len(items), device=items.device)
        if self.own is not None:
            quality = quality + OWN**0.5 * self.own[items] * self.seen[items]
        if self.text is not None and texts is not None:
            quality = quality + TEXT_QUALITY**0.5 * (texts @ self.text)
        for column, weight in zip(columns, self.columns, strict=True):
            quality = quality + COLUMN_QUALITY**0.5 * (column @ weight)
        return quality

    def penalty(self, items: Tensor, own_share: Tensor, share: Tensor) -> Tensor:
        """[] minus the log of the prior. items [T] of the targets; own_share [T] one over the number of targets of the
        item; share [T] one over the number of all targets: summed over all targets the prior counts once."""
        shared = [weight for weight in (self.text, *self.columns) if weight is not None]
        penalty = share.sum() * sum((0.5 * weight.square().sum() for weight in shared), start=share.new_zeros(()))
        if self.own is not None:
            penalty = penalty + (0.5 * own_share * self.own[items].square()).sum()
        return penalty


def kernel_ridge(
    features: Tensor, candidate: Tensor, history: Tensor, owner: Tensor, residual: Tensor, mask: Tensor, noise: Tensor
) -> Tensor:
    """[T] the expected residual of each candidate, given the residuals of its user's history.

    The posterior mean of a Gaussian process with the dot product of features as kernel (Rasmussen and
    Williams 2006, eq. 2.25): the best linear predictor, in closed form for each user, so that new users
    need no weights.

    features [V, d] of distinct items; candidate [T] and history [H, L] indices of their rows; owner [T] the history of
    each target; residual [H, L]; mask [H, L] true where it is known; noise [] variance of the noise. An empty history
    gives 0.
    """
    if 2 * len(history) <= len(candidate):
        rows = features[history]
        weights = _weights(rows @ rows.mT, residual, mask, noise)
        users = (weights[:, None] @ rows).squeeze(1)  # the coefficients of the regression, one row per history
        return pair_products(features, candidate, users, owner)
    if len(features) <= GRAM_LIMIT:
        gram = features @ features.T
        among = gram[history[:, :, None], history[:, None, :]]
        across = gram[candidate[:, None], history[owner]]
    else:
        rows = features[history]
        among, across = rows @ rows.mT, torch.einsum("tld,td->tl", rows[owner], features[candidate])
    return (across * _weights(among, residual, mask, noise)[owner]).sum(dim=1)


def _weights(among: Tensor, residual: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """[H, L] the coefficient of each event, from the products [H, L, L] of the items of each history; 0 where mask is
    false."""
    known = mask.to(among.dtype)
    noisy = noise * torch.eye(among.shape[1], device=among.device, dtype=among.dtype)
    kernel = among * known[:, :, None] * known[:, None, :] + noisy
    return known * _solve(kernel, torch.where(mask, residual, 0.0))


def _solve(kernel: Tensor, target: Tensor) -> Tensor:
    """[B, L] kernel^-1 target. One step of iterative refinement around a detached solution has the exact gradient, and
    needs only matrix products: the backward pass of a Cholesky factorization costs several times as much."""
    with torch.no_grad():
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
        start = torch.einsum("bij,bj->bi", inverse, target)
    residual = target - torch.einsum("bij,bj->bi", kernel, start)
    return start + torch.einsum("bij,bj->bi", inverse, residual)
