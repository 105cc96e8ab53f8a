"""Kernel ridge regression of each user's feedback: what it says about one more item."""

from __future__ import annotations

import torch
from torch import Tensor

GRAM_LIMIT = 4096
"""Up to so many distinct items, all their products are computed once and looked up: 64 MiB at most."""


def kernel_ridge(
    features: Tensor, candidate: Tensor, history: Tensor, residual: Tensor, mask: Tensor, noise: Tensor
) -> Tensor:
    """[B] the expected residual of each candidate, given the residuals of its user's history.

    The posterior mean of a Gaussian process with the dot product of features as kernel (Rasmussen and
    Williams 2006, eq. 2.25): the best linear guess, in closed form for each user, so that new users need no
    weights of their own.

    features [V, d] of distinct items; candidate [B] and history [B, L] places among them; residual [B, L];
    mask [B, L] true where there is something known; noise [] variance of the residual that no kernel
    explains. An empty history gives 0.
    """
    known = mask.to(features.dtype)
    among, across = _products(features, candidate, history)
    noisy = noise * torch.eye(history.shape[1], device=features.device, dtype=features.dtype)
    kernel = among * known[:, :, None] * known[:, None, :] + noisy
    weights = _solve(kernel, torch.where(mask, residual, 0.0))
    return (across * known * weights).sum(dim=1)


def _products(features: Tensor, candidate: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """[B, L, L] among the items of each history, and [B, L] of them with the candidate."""
    if len(features) <= GRAM_LIMIT:
        gram = features @ features.T
        return gram[history[:, :, None], history[:, None, :]], gram[candidate[:, None], history]
    rows = features[history]
    return rows @ rows.mT, torch.einsum("bld,bd->bl", rows, features[candidate])


def _solve(kernel: Tensor, target: Tensor) -> Tensor:
    """[B, L] kernel^-1 target. One step of refinement around a solution held constant has the exact gradient,
    by matrix products alone: the backward pass of a Cholesky factorisation costs several times as much."""
    with torch.no_grad():
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
        start = torch.einsum("bij,bj->bi", inverse, target)
    left = target - torch.einsum("bij,bj->bi", kernel, start)
    return start + torch.einsum("bij,bj->bi", inverse, left)
