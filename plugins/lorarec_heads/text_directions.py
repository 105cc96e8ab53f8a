"""The directions in which texts differ most."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class TextDirections(NamedTuple):
    """Principal components of a catalogue's text vectors [N, D]."""

    mean: Tensor
    """[D]"""
    basis: Tensor
    """[D, p] orthonormal; 0 before anything is known."""

    @classmethod
    @torch.no_grad()
    def of(cls, texts: Tensor, size: int) -> TextDirections:
        """The first `size` of them."""
        mean = texts.mean(dim=0)
        if size == len(mean):  # nothing is left out, and how they are turned makes no difference to their dot products
            return cls(mean, torch.eye(size, device=texts.device))
        centred = texts - mean
        return cls(mean, torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -size:])

    def features(self, texts: Tensor) -> Tensor:
        """[V, p] unit vectors of texts [V, D]: their dot product is a cosine."""
        return nn.functional.normalize((texts - self.mean) @ self.basis, dim=-1)
