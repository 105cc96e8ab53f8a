"""Kernel ridge regression of each user's feedback: what it says about one more item."""

from __future__ import annotations

import torch
from torch import Tensor

from lorarec.contracts import pair_products

GRAM_LIMIT = 4096
"""Up to so many distinct items, all their products are computed once and looked up: 64 MiB at most."""


def kernel_ridge(
    features: Tensor, candidate: Tensor, history: Tensor, owner: Tensor, residual: Tensor, mask: Tensor, noise: Tensor
) -> Tensor:
    """[F] the expected residual of each candidate, given the residuals of its user's history.

    The posterior mean of a Gaussian process with the dot product of features as kernel (Rasmussen and
    Williams 2006, eq. 2.25): the best linear guess, in closed form for each user, so that new users need no
    weights of their own.

    features [V, d] of distinct items; candidate [F] and history [H, L] places among them; owner [F] which of the H
    histories belongs to each fact; residual [H, L]; mask [H, L] true where there is something known; noise []
    variance of the residual that no kernel explains. An empty history gives 0.
    """
    if 2 * len(history) <= len(candidate):
        rows = features[history]
        weights = _weights(rows @ rows.mT, residual, mask, noise)
        users = (weights[:, None] @ rows).squeeze(1)  # the regression's own coefficients, one row a history
        return pair_products(features, candidate, users, owner)
    if len(features) <= GRAM_LIMIT:
        gram = features @ features.T
        among = gram[history[:, :, None], history[:, None, :]]
        across = gram[candidate[:, None], history[owner]]
    else:
        rows = features[history]
        among, across = rows @ rows.mT, torch.einsum("fld,fd->fl", rows[owner], features[candidate])
    return (across * _weights(among, residual, mask, noise)[owner]).sum(dim=1)


def _weights(among: Tensor, residual: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """[H, L] how much each event says, from the products [H, L, L] among the items of each history; 0 where nothing
    is known."""
    known = mask.to(among.dtype)
    noisy = noise * torch.eye(among.shape[1], device=among.device, dtype=among.dtype)
    kernel = among * known[:, :, None] * known[:, None, :] + noisy
    return known * _solve(kernel, torch.where(mask, residual, 0.0))


def _solve(kernel: Tensor, target: Tensor) -> Tensor:
    """[B, L] kernel^-1 target. One step of refinement around a solution held constant has the exact gradient,
    by matrix products alone: the backward pass of a Cholesky factorisation costs several times as much."""
    with torch.no_grad():
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
        start = torch.einsum("bij,bj->bi", inverse, target)
    left = target - torch.einsum("bij,bj->bi", kernel, start)
    return start + torch.einsum("bij,bj->bi", inverse, left)
