"""Calibration: a monotone map from predicted probabilities to observed frequencies, fitted on validation.

By temperature (Guo et al., ICML 2017) or isotonic regression (Zadrozny and Elkan, KDD 2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

BINS = 15
"""Bins of equal width of the calibration error, as in Guo et al."""
EDGE = 1e-6
"""Smallest distance of probabilities from 0 and 1: no row is certain."""
LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the search for the best temperature."""

Method = Literal["temperature", "isotonic"]


@dataclass(frozen=True)
class Calibration:
    """A monotone map from the model's probabilities to calibrated ones: straight lines between knots."""

    method: Method
    temperature: float
    """What logits are divided by; 1 where the method is isotonic."""
    scores: np.ndarray
    """[m] ascending probabilities of the model; empty where the method is temperature."""
    probabilities: np.ndarray
    """[m] the calibrated probability of each of them."""

    @classmethod
    def fit(cls, method: Method, scores: np.ndarray, labels: np.ndarray) -> Self:
        """Fit on the model's probabilities [n] and labels [n] of 0 and 1."""
        if method == "temperature":
            return cls(method, _best_temperature(scores, labels), np.empty(0), np.empty(0))
        return cls(method, 1.0, *_isotonic(scores, labels))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """[n] float64 calibrated probabilities; NaN stays NaN."""
        if self.method == "temperature":
            return np.asarray(1 / (1 + np.exp(-_logits(scores) / self.temperature)))
        return np.asarray(np.clip(np.interp(scores, self.scores, self.probabilities), EDGE, 1 - EDGE))

    @property
    def at_its_limit(self) -> bool:
        """Whether the best temperature lies at a bound of the search, so that a better one may be beyond it."""
        return self.method == "temperature" and not LOWEST * 1.001 < self.temperature < HIGHEST / 1.001

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        if self.method == "temperature":
            return {"method": self.method, "temperature": self.temperature}
        knots = {"scores": self.scores.tolist(), "probabilities": self.probabilities.tolist()}
        return {"method": self.method, **knots}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """The calibration that `to_dict` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        method, temperature = content["method"], content.get("temperature", 1.0)
        scores, probabilities = (np.asarray(content.get(name, []), np.float64) for name in ("scores", "probabilities"))
        if method == "temperature":
            if type(temperature) not in (int, float) or not LOWEST * 0.999 <= temperature <= HIGHEST * 1.001:
                raise ValueError(f"temperature {temperature!r:.50} is not a number from {LOWEST} to {HIGHEST:g}")
        elif method == "isotonic":
            if not _is_curve(scores, probabilities):
                raise ValueError("its scores and probabilities are no increasing curve from 0 to 1")
        else:
            raise ValueError(f"method {method!r:.50} is neither temperature nor isotonic")
        return cls(method, float(temperature), scores, probabilities)


def _is_curve(scores: np.ndarray, probabilities: np.ndarray) -> bool:
    """Whether [m] probabilities do not fall over [m] ascending scores, all from 0 to 1."""
    if scores.ndim != 1 or scores.shape != probabilities.shape or not len(scores):
        return False
    within = [bool(((values >= 0) & (values <= 1)).all()) for values in (scores, probabilities)]
    return all(within) and bool((np.diff(scores) > 0).all() and (np.diff(probabilities) >= 0).all())


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error: the gap between mean probability and share of class 1, over BINS bins, weighted by
    their rows."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bins, scores - labels, minlength=BINS)).sum() / len(scores))


def log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood."""
    clipped = np.clip(scores, EDGE, 1 - EDGE)
    return float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def _logits(scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores, EDGE, 1 - EDGE)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _best_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of the lowest log loss, which has one minimum over log temperature."""
    from scipy.optimize import minimize_scalar

    logits = _logits(scores)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0.0, scaled) - labels * scaled))

    bounds = np.log(LOWEST), np.log(HIGHEST)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x))


def _isotonic(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of the monotone function of the least squared error: the first and the last score of each of its steps, and
    the share of ones in it."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression().fit(scores, labels)
    return fitted.X_thresholds_, fitted.y_thresholds_
