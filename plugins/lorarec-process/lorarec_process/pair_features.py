"""Features by which items and users are compared: who rated what, regardless of the stars, and texts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lorarec_process.pair_process import PairSet

OVERSAMPLED = 8
"""Additional vectors, with which the requested ones converge in fewer rounds."""
ROUNDS = 12
SEED = 0
NEGLIGIBLE = 1e-3
"""Singular values as small as this are rounding; the largest is 1."""


class RaterSpectrum(NamedTuple):
    """Singular vectors of the matrix of who rated what, each entry divided by the root of its row's and column's count.

    The first, which is trivial (the counts), is left out (Dhillon, KDD 2001). Each is weighted by the square of its
    singular value, so that directions that few users share have little weight.
    """

    raters: Tensor
    """[N, k] what an item adds to the vector of a user who rated it; 0 for an item without ratings."""
    strength: Tensor
    """[k] singular values, descending; 0 beyond the rank."""

    @classmethod
    def of(cls, pairs: PairSet, size: int) -> RaterSpectrum:
        """The spectrum in `size` dimensions, by subspace iteration (Halko, Martinsson and Tropp 2011)."""
        users, items = pairs.user_starts.diff(), pairs.item_starts.diff()
        values = torch.ones(len(pairs), device=pairs.item.device)
        root_users, root_items = (counts.clamp(min=1).float().rsqrt()[:, None] for counts in (users, items))
        wanted = min(size + OVERSAMPLED, len(items), len(users))
        # The trivial singular vector.
        trivial = nn.functional.normalize(items.float().sqrt(), dim=0)[:, None]
        generator = torch.Generator().manual_seed(SEED)
        basis = torch.randn(len(items), wanted, generator=generator).to(values.device)
        for _ in range(ROUNDS + 1):
            basis = torch.linalg.qr(_without(trivial, basis)).Q
            basis = _without(trivial, basis)  # again: QR fills missing directions arbitrarily
            seen = root_users * pairs.user_sums(values, root_items * basis)
            vectors, basis = basis, root_items * pairs.item_sums(values, root_users * seen)
        squares, rotation = torch.linalg.eigh(seen.T @ seen)
        strength = squares.flip(0).clamp(min=0).sqrt()[:size]
        strength = torch.where(strength > NEGLIGIBLE, strength, 0.0)  # rounding errors are no direction
        vectors = (vectors @ rotation.flip(1))[:, :size]
        missing = size - len(strength)
        raters = nn.functional.pad(root_items * vectors * strength, (0, missing)) * (items > 0)[:, None]
        return cls(raters, nn.functional.pad(strength, (0, missing)))

    def of_items(self, items: Tensor) -> Tensor:
        """[..., k] unit vectors of catalog rows [...]; 0 for an item without ratings."""
        return nn.functional.normalize(self.raters[items] * self.strength, dim=-1)

    def of_users(self, pairs: PairSet) -> Tensor:
        """[U, k] unit vectors of the users of these pairs; 0 for one without any."""
        ones = torch.ones(len(pairs), device=self.raters.device)
        return nn.functional.normalize(pairs.user_sums(ones, self.raters), dim=-1)

    def of_histories(self, history: Tensor, mask: Tensor) -> Tensor:
        """[H, k] unit vectors of users with the items [H, L] where mask [H, L] is true; 0 for an empty history."""
        return nn.functional.normalize((self.raters[history] * mask[..., None]).sum(dim=1), dim=-1)


def _without(direction: Tensor, vectors: Tensor) -> Tensor:
    """The columns of vectors [N, q] without their projection onto a unit vector [N, 1]."""
    return vectors - direction @ (direction.T @ vectors)


class TextDirections(NamedTuple):
    """Principal components of a catalog's text vectors [N, D]."""

    mean: Tensor
    """[D]"""
    basis: Tensor
    """[D, p] orthonormal; 0 before the first fit."""

    @classmethod
    @torch.no_grad()
    def of(cls, texts: Tensor, size: int) -> TextDirections:
        """The first `size` of them."""
        mean = texts.mean(dim=0)
        if size == len(mean):  # all are kept, and rotations do not change dot products
            return cls(mean, torch.eye(size, device=texts.device))
        centered = texts - mean
        return cls(mean, torch.linalg.eigh(centered.T @ centered).eigenvectors[:, -size:])

    def features(self, texts: Tensor) -> Tensor:
        """[V, p] unit vectors of texts [V, D]: their dot product is a cosine."""
        return nn.functional.normalize((texts - self.mean) @ self.basis, dim=-1)
