"""Kernel ridge regression of each user's feedback: what it says about one more item."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_ridge(candidate: Tensor, history: Tensor, residual: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """[B] the expected residual of each candidate, given the residuals of its user's history.

    The posterior mean of a Gaussian process with the dot product of features as kernel (Rasmussen and
    Williams 2006, eq. 2.25): the best linear guess, in closed form for each user, so that new users need no
    weights of their own.

    candidate [B, d] and history [B, L, d] features; residual [B, L]; mask [B, L] true where there is an
    event; noise [] variance of the residual that no kernel explains. An empty history gives 0.
    """
    known = mask.to(history.dtype)
    rows = history * known[..., None]
    target = torch.where(mask, residual, 0.0)
    kernel = rows @ rows.mT + noise * torch.eye(rows.shape[1], device=rows.device, dtype=rows.dtype)
    weights = _solve(kernel, target)
    return torch.einsum("bld,bd,bl->b", rows, candidate, weights)


def _solve(kernel: Tensor, target: Tensor) -> Tensor:
    """[B, L] kernel^-1 target. One step of refinement around a solution held constant has the exact gradient,
    by matrix products alone: the backward pass of a Cholesky factorisation costs several times as much."""
    with torch.no_grad():
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
        start = torch.einsum("bij,bj->bi", inverse, target)
    left = target - torch.einsum("bij,bj->bi", kernel, start)
    return start + torch.einsum("bij,bj->bi", inverse, left)
