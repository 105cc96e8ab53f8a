"""What items and users are compared by: who rated what, whatever they thought of it, and what texts say."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lorarec_process.pair_process import PairSet

OVERSAMPLED = 8
"""Vectors more than are wanted, which make the wanted ones exact in fewer rounds."""
ROUNDS = 12
SEED = 0
NOTHING = 1e-3
"""Singular values as small as this are rounding; the largest is 1."""


class RaterSpectrum(NamedTuple):
    """Singular vectors of the matrix of who rated what, each entry over the root of its row's and its column's count.

    The first, which only counts, is left out (Dhillon, KDD 2001). Each is weighted by the square of its singular
    value: what few share hardly counts.
    """

    raters: Tensor
    """[N, k] what an item adds to the vector of a user who rated it; 0 where nobody did."""
    strength: Tensor
    """[k] singular values, descending; 0 where there are fewer."""

    @classmethod
    def of(cls, pairs: PairSet, size: int) -> RaterSpectrum:
        """The spectrum in `size` dimensions, by subspace iteration (Halko, Martinsson and Tropp 2011)."""
        users, items = pairs.user_starts.diff(), pairs.item_starts.diff()
        values = torch.ones(len(pairs), device=pairs.item.device)
        root_users, root_items = (counts.clamp(min=1).float().rsqrt()[:, None] for counts in (users, items))
        wanted = min(size + OVERSAMPLED, len(items), len(users))
        # The singular vector that only counts, which is known.
        trivial = nn.functional.normalize(items.float().sqrt(), dim=0)[:, None]
        generator = torch.Generator().manual_seed(SEED)
        basis = torch.randn(len(items), wanted, generator=generator).to(values.device)
        for _ in range(ROUNDS + 1):
            basis = torch.linalg.qr(_without(trivial, basis)).Q
            basis = _without(trivial, basis)  # again: QR fills what is missing with any direction
            seen = root_users * pairs.user_sums(values, root_items * basis)
            vectors, basis = basis, root_items * pairs.item_sums(values, root_users * seen)
        squares, turn = torch.linalg.eigh(seen.T @ seen)
        strength = squares.flip(0).clamp(min=0).sqrt()[:size]
        strength = torch.where(strength > NOTHING, strength, 0.0)  # or rounding would count as a direction
        vectors = (vectors @ turn.flip(1))[:, :size]
        missing = size - len(strength)
        raters = nn.functional.pad(root_items * vectors * strength, (0, missing)) * (items > 0)[:, None]
        return cls(raters, nn.functional.pad(strength, (0, missing)))

    def of_items(self, items: Tensor) -> Tensor:
        """[..., k] unit vectors of catalog rows [...]; 0 of an item that nobody rated."""
        return nn.functional.normalize(self.raters[items] * self.strength, dim=-1)

    def of_users(self, pairs: PairSet) -> Tensor:
        """[U, k] unit vectors of the users of these pairs; 0 of one without any."""
        ones = torch.ones(len(pairs), device=self.raters.device)
        return nn.functional.normalize(pairs.user_sums(ones, self.raters), dim=-1)

    def of_histories(self, history: Tensor, mask: Tensor) -> Tensor:
        """[H, k] unit vectors of those who had the items [H, L] where mask [H, L] is true; 0 of an empty history."""
        return nn.functional.normalize((self.raters[history] * mask[..., None]).sum(dim=1), dim=-1)


def _without(direction: Tensor, vectors: Tensor) -> Tensor:
    """The columns of vectors [N, q] without what they have of a unit vector [N, 1]."""
    return vectors - direction @ (direction.T @ vectors)


class TextDirections(NamedTuple):
    """Principal components of a catalog's text vectors [N, D]."""

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
        centered = texts - mean
        return cls(mean, torch.linalg.eigh(centered.T @ centered).eigenvectors[:, -size:])

    def features(self, texts: Tensor) -> Tensor:
        """[V, p] unit vectors of texts [V, D]: their dot product is a cosine."""
        return nn.functional.normalize((texts - self.mean) @ self.basis, dim=-1)
