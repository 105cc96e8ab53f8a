"""Losses of ratings: what it costs to have expected one number of stars where another was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lorarec.contracts import DataError, Statistics

LossName = Literal["mse", "huber", "ordinal"]
HUBER_DELTA = 1.0
SMALLEST_SCALE = 1e-3


class SquaredError(nn.Module):
    """The square of the difference, which the mean of what may be given makes smallest."""

    def forward(self, found: Tensor, given: Tensor) -> Tensor:
        """[F] of the stars expected [F] and given [F]."""
        return (found - given).square()

    def stars(self, found: Tensor) -> Tensor:
        """[F] the stars to answer with, where the model found [F]."""
        return found


class Huber(nn.Module):
    """Squared up to a difference of `delta` stars, linear beyond (Huber 1964): a few wild ratings pull less."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self._delta = delta

    def forward(self, found: Tensor, given: Tensor) -> Tensor:
        """[F] of the stars expected [F] and given [F]; equal to the squared error where that is small."""
        return 2 * nn.functional.huber_loss(found, given, reduction="none", delta=self._delta)

    def stars(self, found: Tensor) -> Tensor:
        """[F] the stars to answer with, where the model found [F]."""
        return found


class Ordinal(nn.Module):
    """Minus the log-probability of the stars given, of which only the order is believed (McCullagh 1980).

    What the model finds is a place on a line that learnt cuts divide into one stretch for each number of stars; noise
    of a learnt scale, logistic, moves it. The answer is the mean of the stars under these probabilities.
    """

    values: Tensor

    def __init__(self, values: Sequence[float]) -> None:
        """`values`: all numbers of stars that there are, ascending; cuts start half-way between neighbours."""
        super().__init__()
        stars = torch.tensor(values, dtype=torch.float32)
        cuts = (stars[1:] + stars[:-1]) / 2
        self.register_buffer("values", stars, persistent=False)
        self.first_cut = nn.Parameter(cuts[0].clone())
        self.log_gaps = nn.Parameter(cuts.diff().log()) if len(cuts) > 1 else None
        self.log_scale = nn.Parameter((0.5 * stars.diff().mean()).log())

    def forward(self, found: Tensor, given: Tensor) -> Tensor:
        """[F] of what was found [F] and the stars given [F], each one of `values`."""
        level = torch.searchsorted(self.values, given.contiguous() - 1e-4)
        above, below = self._log_tails(found)
        # P(level) = P(above the cut below it) - P(above the cut above it), without losing digits in the tails.
        upper, lower = above.gather(1, level[:, None]), below.gather(1, level[:, None] + 1)
        width = self._edges().diff()[level].clamp(min=SMALLEST_SCALE)[:, None]
        return -(upper + lower + torch.log(-torch.expm1(-width))).squeeze(1)

    def stars(self, found: Tensor) -> Tensor:
        """[F] the mean of the stars, where the model found [F]."""
        above, _ = self._log_tails(found)
        return self.values[0] + (above.exp()[:, 1:-1] * self.values.diff()).sum(dim=1)

    def _edges(self) -> Tensor:
        """[K + 1] the cuts in units of the scale, between minus and plus infinity."""
        cuts = self.first_cut[None]
        if self.log_gaps is not None:
            cuts = torch.cat([cuts, self.first_cut + self.log_gaps.exp().cumsum(0)])
        infinite = cuts.new_full((1,), torch.inf)
        return torch.cat([-infinite, cuts / self._scale(), infinite])

    def _log_tails(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """[F, K + 1] log-probabilities of lying above, and below, each edge."""
        distance = (found / self._scale())[:, None] - self._edges()
        return nn.functional.logsigmoid(distance), nn.functional.logsigmoid(-distance)

    def _scale(self) -> Tensor:
        return self.log_scale.exp().clamp(min=SMALLEST_SCALE)


StarLoss = SquaredError | Huber | Ordinal


def star_loss(name: LossName, huber_delta: float, statistics: Statistics) -> StarLoss:
    """The loss of that name, for the stars that training knows. Raises DataError if they have no order to learn."""
    if name == "huber":
        return Huber(huber_delta)
    if name == "mse":
        return SquaredError()
    if len(statistics.label_values) < 2:
        raise DataError("head.loss=ordinal needs at least two different ratings in training; there are fewer.")
    return Ordinal(statistics.label_values)


def check_loss_options(name: LossName, huber_delta: float) -> None:
    """Raise ValueError for an option that this loss does not read. A default may be written out, as the recipe of a
    run folder does."""
    if name != "huber" and huber_delta != HUBER_DELTA:
        raise ValueError(f"huber_delta would do nothing with loss={name}: leave it out")


def check_stars(name: LossName, stars: np.ndarray, rows: np.ndarray) -> None:
    """Raise DataError if these stars, of these rows of the table, cannot be learnt with this loss."""
    if len(stars) > 1 and np.all(stars == stars[0]):
        raise DataError(
            f"All {len(stars)} values of 'rating' are {stars[0]:g} (row {rows[0]} is the first): there is nothing to "
            "learn. Check data.columns.rating."
        )
    if name == "ordinal" and len(np.unique(stars)) > Statistics.MOST_VALUES:
        raise DataError(
            f"'rating' has {len(np.unique(stars))} different values, and head.loss=ordinal learns a cut between any "
            f"two: {Statistics.MOST_VALUES} at most. Use mse or huber, or round the ratings."
        )
