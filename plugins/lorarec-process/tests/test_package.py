"""The heads satisfy the contract of heads; the package registers them and its recipes."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest

import lorarec_process
from lorarec.contracts import TaskHead
from lorarec.testing import check_task_head
from lorarec_process.ctr_ridge import CtrRidge
from lorarec_process.rating_process import RatingProcess
from lorarec_process.rating_ridge import RatingRidge

RECIPES = ["movielens_rating_process", "tallrec_few_shot_process", "tallrec_process"]


@pytest.mark.parametrize(
    ("head", "options"),
    [
        (RatingProcess, {}),
        (RatingRidge, {}),
        (RatingRidge, {"encoding": "joint", "targets_per_example": 3}),
        (CtrRidge, {"biases": True}),
        (CtrRidge, {"biases": True, "factors": 4, "loss": "ranking"}),
        (CtrRidge, {"encoding": "joint"}),
    ],
)
def test_the_heads_satisfy_the_contract_of_heads(head: type[TaskHead], options: dict[str, Any]) -> None:
    check_task_head(head, **options)


def test_the_package_offers_its_recipes() -> None:
    (folder,) = lorarec_process.lorarec_recipes()
    assert sorted(file.stem for file in folder.glob("*.yaml")) == RECIPES


def test_installing_the_package_registers_the_heads() -> None:
    points = entry_points(group="lorarec", name="process")
    if not points:
        pytest.skip("lorarec-process is not installed here: pip install ./plugins/lorarec-process")
    (point,) = points
    assert list(point.load().lorarec_task_heads()) == [RatingProcess, RatingRidge, CtrRidge]
