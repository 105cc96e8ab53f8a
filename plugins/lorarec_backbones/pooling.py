"""Pooling: one vector per text from the states of its positions."""

from __future__ import annotations

import torch
from torch import Tensor

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "last")
"""In the order in which sentence-transformers concatenates them."""


def pool(hidden_BLD: Tensor, mask_BL: Tensor, how: str) -> Tensor:
    """[B, D] float32 from hidden states [B, L, D] and a boolean mask [B, L] of the positions to read.

    mean: over these positions (Reimers and Gurevych, EMNLP 2019); mean_sqrt_len_tokens: their sum divided by the root
    of their number; weightedmean: the mean weighted by position, from 1 (Muennighoff, SGPT, 2022); max: the largest of
    each dimension; cls: the first of them; last: the last, the only one of a causal model that attends to the whole
    text.
    """
    if how in ("cls", "last"):
        rows = torch.arange(len(hidden_BLD), device=hidden_BLD.device)
        first_B, last_B = mask_BL.int().argmax(dim=1), mask_BL.shape[1] - 1 - mask_BL.flip(1).int().argmax(dim=1)
        return hidden_BLD[rows, first_B if how == "cls" else last_B].float()
    if how == "max":
        return hidden_BLD.float().masked_fill(~mask_BL.unsqueeze(-1), -torch.inf).amax(dim=1)
    weights_BL1 = mask_BL.unsqueeze(-1).to(torch.float32)
    if how == "weightedmean":
        weights_BL1 = weights_BL1 * torch.arange(1, mask_BL.shape[1] + 1, device=mask_BL.device)[:, None]
    total_B1 = weights_BL1.sum(dim=1)
    sums_BD = (hidden_BLD.float() * weights_BL1).sum(dim=1)
    return sums_BD / (total_B1.sqrt() if how == "mean_sqrt_len_tokens" else total_B1)
