"""Pooling: one vector from the hidden states of a text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["mean", "cls", "last"]


def pool(hidden_BLD: Tensor, mask_BL: Tensor, how: Pooling) -> Tensor:
    """[B, D] float32 from hidden states [B, L, D] and a boolean mask [B, L] of right-padded texts.

    mean: over the text's own positions (Reimers and Gurevych, EMNLP 2019). cls: the first position. last: the
    last position that is not padding, the only one of a causal model that has read everything.
    """
    if how == "cls":
        return hidden_BLD[:, 0].float()
    lengths_B = mask_BL.sum(dim=1)
    if how == "last":
        rows = torch.arange(len(hidden_BLD), device=hidden_BLD.device)
        return hidden_BLD[rows, lengths_B - 1].float()
    weights_BL1 = mask_BL.unsqueeze(-1).to(torch.float32)
    return (hidden_BLD.float() * weights_BL1).sum(dim=1) / lengths_B.unsqueeze(-1)
