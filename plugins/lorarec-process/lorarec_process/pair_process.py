"""A Gaussian process over pairs of a user and an item: its kernel, and its posterior mean by conjugate gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

RANK = 32
"""Rank of the preconditioner's approximation of the items' features."""
ITERATIONS = 100
"""Largest number of iterations of conjugate gradients."""
EXACT, ROUGH = 3e-3, 2e-2
"""Tolerances of conjugate gradients: the residual relative to the target, for predictions and for gradients."""

# A warning of torch's at first use, which is irrelevant to users.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


@dataclass(frozen=True)
class PairSet:
    """n pairs of U users and N items, sorted by user, item. All operations are linear in n."""

    user_starts: Tensor
    """[U + 1] int64 start of each user's pairs."""
    item: Tensor
    """[n] int64."""
    item_starts: Tensor
    """[N + 1] int64 start of each item's pairs when sorted by item, user."""
    user_by_item: Tensor
    """[n] int64 users, sorted by item, user."""
    by_item: Tensor
    """[n] int64 indices of these pairs."""

    @classmethod
    def of(cls, user: Tensor, item: Tensor, users: int, items: int) -> tuple[Self, Tensor]:
        """The pairs, and [n] the index of each in the arguments."""
        order = torch.argsort(user * items + item, stable=True)
        user, item = user[order], item[order]
        by_item = torch.argsort(item, stable=True)
        starts = (_starts(user, users), _starts(item, items))
        return cls(starts[0], item, starts[1], user[by_item], by_item), order

    def __len__(self) -> int:
        return len(self.item)

    def user_sums(self, values: Tensor, features: Tensor) -> Tensor:
        """[U, d] for each user the sum over their pairs of value [n] times the item's features [N, d]."""
        matrix = _csr(self.user_starts, self.item, values, len(features))
        sums: Tensor = torch.sparse.mm(matrix, features)
        return sums

    def item_sums(self, values: Tensor, features: Tensor) -> Tensor:
        """[N, e] for each item the sum over its pairs of value [n] times the user's features [U, e]."""
        matrix = _csr(self.item_starts, self.user_by_item, values[self.by_item], len(features))
        sums: Tensor = torch.sparse.mm(matrix, features)
        return sums

    def dots(self, users: Tensor, items: Tensor) -> Tensor:
        """[n] the dot product of each pair's rows in users [U, d] and items [N, d]. Without gradient."""
        if not len(self):
            return users.new_zeros(0)
        empty = _csr(self.user_starts, self.item, users.new_zeros(len(self)), len(items))
        values: Tensor = torch.sparse.sampled_addmm(empty, users, items.T.contiguous(), beta=0.0).values()
        return values


def _starts(ascending: Tensor, size: int) -> Tensor:
    counts = torch.bincount(ascending, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _csr(starts: Tensor, columns: Tensor, values: Tensor, width: int) -> Tensor:
    return torch.sparse_csr_tensor(starts, columns, values, (len(starts) - 1, width), check_invariants=False)


class Features(NamedTuple):
    """Features of items [N, d] and of users [U, e]: concatenated parts, each a unit vector or 0."""

    items: Tensor
    users: Tensor


class Spreads(NamedTuple):
    """Variances, one per feature."""

    item: Tensor
    """[d] of each user's weights for the items' features."""
    user: Tensor
    """[e] of each item's weights for the users' features."""
    item_shared: Tensor
    """[d] of the weights shared by all: their variance is a product with `user_shared`."""
    user_shared: Tensor
    """[e]"""


class Weights(NamedTuple):
    """Posterior mean of the weights: f(u, i) = users_u . x_i + y_u . items_i + x_i . shared . y_u, of a user with
    features y and an item with features x."""

    users: Tensor
    """[U, d]"""
    items: Tensor
    """[N, e]"""
    shared: Tensor
    """[d, e]"""

    def of_items(self, features: Tensor) -> Tensor:
        """[N, e] weights of items for the features of any user, from the features of the items [N, d]."""
        return self.items + features @ self.shared


class PairKernel(nn.Module):
    """How similar two pairs are:

    k((u,i),(v,j)) = [u=v] x_i.x_j + [i=j] y_u.y_v + (x'_i.x'_j)(y'_u.y'_v), and noise where the pairs are the same.

    Each user has weights for the items' features x, each item has weights for the users' features y, and some are
    shared by all. The parts of the features are weighted by variances, the only learned parameters; x and x' differ by
    theirs.
    """

    def __init__(self, item_parts: Mapping[str, int], user_parts: Mapping[str, int]) -> None:
        """Names and sizes of the parts."""
        super().__init__()
        self._sizes = {"item": tuple(item_parts.values()), "user": tuple(user_parts.values())}
        self.log_item = _log_variances({"one": 0.15, "spectrum": 0.15}, item_parts)
        self.log_user = _log_variances({"one": 0.25, "spectrum": 0.2}, user_parts)
        self.log_item_shared = _log_variances({"one": 0.05, "spectrum": 0.25}, item_parts)
        self.log_user_shared = _log_variances({"one": 0.1, "spectrum": 0.3}, user_parts)
        self.log_noise = nn.Parameter(torch.tensor(math.log(0.8)))

    def spreads(self) -> Spreads:
        """The variances of each feature."""

        def spread(logs: Tensor, side: str) -> Tensor:
            return logs.exp().repeat_interleave(torch.tensor(self._sizes[side], device=logs.device))

        return Spreads(
            spread(self.log_item, "item"),
            spread(self.log_user, "user"),
            spread(self.log_item_shared, "item"),
            spread(self.log_user_shared, "user"),
        )


def _log_variances(start: Mapping[str, float], parts: Mapping[str, int]) -> nn.Parameter:
    return nn.Parameter(torch.tensor([math.log(start.get(name, 0.1)) for name in parts]))


@dataclass(frozen=True)
class PairProcess:
    """The process with fixed variances. Time and memory are linear in the pairs."""

    features: Features
    spreads: Spreads
    noise: Tensor

    @torch.no_grad()
    def weights(self, pairs: PairSet, values: Tensor) -> Weights:
        """The weights that follow from coefficients [n] of the pairs in the kernel."""
        items, users = self.features
        users_side = pairs.user_sums(values, items) * self.spreads.item
        by_item = pairs.item_sums(values, users)
        shared = self.spreads.item_shared[:, None] * (items.T @ by_item) * self.spreads.user_shared
        return Weights(users_side, by_item * self.spreads.user, shared)

    @torch.no_grad()
    def at(self, pairs: PairSet, weights: Weights) -> Tensor:
        """[n] the value of each pair."""
        items, users = self.features
        left = torch.cat([weights.users, users], dim=1)
        return pairs.dots(left, torch.cat([items, weights.of_items(items)], dim=1))

    @torch.no_grad()
    def solve(self, pairs: PairSet, target: Tensor, tolerance: float, weight: Tensor | None = None) -> Tensor:
        """[n] values v with (kernel + noise / weight) v = target, by preconditioned conjugate gradients.

        `weight` [n] is the weight of each target, 1 by default; v is 0 where it is 0. With S the roots of the weights,
        v = S z, and (S kernel S + noise) z = S target is solved. Warns if it does not converge in ITERATIONS."""
        from linear_operator.utils import linear_cg  # a slow import, not needed by `lorarec --help`
        from linear_operator.utils.warnings import NumericalWarning

        roots = torch.ones_like(target) if weight is None else weight.sqrt()
        scaled_target = roots * target
        if not float(scaled_target.norm()):
            return torch.zeros_like(target)
        precondition = self._preconditioner(pairs, roots)

        def product(column: Tensor) -> Tensor:
            values = column.squeeze(1)
            return (roots * self.at(pairs, self.weights(pairs, roots * values)) + self.noise * values)[:, None]

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", NumericalWarning)
            solved = linear_cg(
                product,
                scaled_target,
                tolerance=tolerance,
                stop_updating_after=tolerance,
                eps=torch.finfo(target.dtype).tiny,
                max_iter=ITERATIONS,
                max_tridiag_iter=0,
                preconditioner=lambda column: precondition(column.squeeze(1))[:, None],
            )
        if any(issubclass(warning.category, NumericalWarning) for warning in caught):
            residual = scaled_target - product(solved[:, None]).squeeze(1)
            _warn_unconverged(float(residual.norm() / scaled_target.norm()), tolerance)
        values: Tensor = roots * solved
        return values

    def _preconditioner(self, pairs: PairSet, roots: Tensor) -> Callable[[Tensor], Tensor]:
        """[n] -> [n] an approximate inverse: block-diagonal by user, with items compared by RANK directions."""
        items, users = self.features
        spread = self.spreads.item + self.spreads.item_shared * (users.square() @ self.spreads.user_shared).mean()
        scaled = items * spread.sqrt()
        squares, rotation = torch.linalg.eigh(scaled.T @ scaled)
        few = scaled @ rotation[:, -RANK:]
        rest = squares[:-RANK].clamp(min=0).sum() / len(items) + (users.square() @ self.spreads.user).mean()
        noise = self.noise + rest
        size = few.shape[1]
        outer = (few[:, :, None] * few[:, None, :]).flatten(1)
        grams = pairs.user_sums(roots.square(), outer).view(-1, size, size)
        grams += noise * torch.eye(size, device=items.device)
        inverses = torch.cholesky_inverse(torch.linalg.cholesky(grams))

        def precondition(values: Tensor) -> Tensor:
            sums = (inverses @ pairs.user_sums(roots * values, few)[..., None]).squeeze(-1)
            conditioned: Tensor = (values - roots * pairs.dots(sums, few)) / noise
            return conditioned

        return precondition


def _warn_unconverged(share: float, tolerance: float) -> None:
    warnings.warn(
        f"rating_process: after {ITERATIONS} iterations the relative residual is {share:.1%} (tolerance "
        f"{tolerance:.1%}): predictions are inexact. The noise may be too small: lower train.head_learning_rate.",
        RuntimeWarning,
        stacklevel=3,
    )


def expected(process: PairProcess, seen: PairSet, target: Tensor, weight: Tensor, hidden: PairSet) -> Tensor:
    """[m] the expected values of the hidden pairs, given the target [n] on the seen ones and its weight [n].

    The gradient with respect to the process's features, variances and noise is that of the exact solution, by solving
    for the adjoint (Rasmussen and Williams 2006, section 5.4.2, for the error on held-out targets).
    """
    apply: Callable[..., Tensor] = _Expected.apply
    return apply(seen, target, weight, hidden, *process.features, *process.spreads, process.noise)


class _Expected(torch.autograd.Function):
    """`expected` as a function of the tensors of a process."""

    @staticmethod
    def forward(ctx: Any, seen: PairSet, target: Tensor, weight: Tensor, hidden: PairSet, *parts: Tensor) -> Tensor:
        process = _process_of(parts)
        solved = process.solve(seen, target, ROUGH, weight)
        ctx.pairs = seen, hidden
        ctx.save_for_backward(solved, weight, *parts)
        return process.at(hidden, process.weights(seen, solved))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (seen, hidden), (solved, weight, *parts) = ctx.pairs, ctx.saved_tensors
        fixed = _process_of(parts)
        adjoint = fixed.solve(seen, fixed.at(seen, fixed.weights(hidden, slope)), ROUGH, weight)
        divisor = torch.where(weight > 0, weight, 1.0)  # both solutions are 0 where the weight is
        with torch.enable_grad():
            leaves = [part.detach().requires_grad_() for part in parts]
            process = _process_of(leaves)
            through_kernel = _bilinear(process, (seen, -adjoint), (hidden, slope), (seen, solved))
            surrogate = through_kernel - process.noise * ((adjoint / divisor) @ solved)
        return None, None, None, None, *torch.autograd.grad(surrogate, leaves)


def _process_of(parts: Sequence[Tensor]) -> PairProcess:
    return PairProcess(Features(*parts[:2]), Spreads(*parts[2:6]), parts[6])


def _bilinear(process: PairProcess, *sets: tuple[PairSet, Tensor]) -> Tensor:
    """[] the sum over pairs p of the first two sets and pairs q of the last one, of their values times the kernel."""
    items, users = process.features
    by_user = [pairs.user_sums(values, items) for pairs, values in sets]
    by_item = [pairs.item_sums(values, users) for pairs, values in sets]
    left_user, left_item = by_user[0] + by_user[1], by_item[0] + by_item[1]
    spreads = process.spreads
    own = (left_user * by_user[2] * spreads.item).sum() + (left_item * by_item[2] * spreads.user).sum()
    shared = (items.T @ left_item) * (items.T @ by_item[2])
    return own + spreads.item_shared @ shared @ spreads.user_shared
