"""Gaussian processes for lorarec: the heads `rating_process`, `rating_ridge` and `ctr_ridge`, and their recipes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lorarec.contracts import TaskHead, hookimpl
from lorarec_process.ctr_ridge import CtrRidge
from lorarec_process.rating_process import RatingProcess
from lorarec_process.rating_ridge import RatingRidge


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Heads in closed form: stars from all users at once, stars and clicks from each user's history."""
    return [RatingProcess, RatingRidge, CtrRidge]


@hookimpl
def lorarec_recipes() -> Iterable[Path]:
    """The package's recipes: next to it in a clone, inside it in the wheel."""
    package = Path(__file__).resolve().parent
    clone = package.parent / "recipes"
    return [clone if (package.parent / "pyproject.toml").is_file() else package / "recipes"]
