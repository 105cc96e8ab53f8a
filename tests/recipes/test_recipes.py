"""Each recipe resolves, can be written and read again, and trains on small data in its format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import lorarec
from lorarec.config.yaml_text import write_yaml
from lorarec.contracts import TrainingPlan
from lorarec.pipeline.assemble import gather_run_data, open_recipe
from lorarec.pipeline.build_model import build_model
from lorarec.pipeline.evaluate import evaluate
from lorarec.registry.resolve import full_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted([*ROOT.glob("recipes/*.yaml"), *ROOT.glob("plugins/lorarec-*/**/recipes/*.yaml")])
STEPS = 3
SHORT = [f"train.max_steps={STEPS}", "train.epochs=1", "train.batch_size=4", "evaluate.batch_size=64"]
"""Only sizes are changed: data, backbone, adapter, head and loss are those of the recipe."""


@dataclass(frozen=True)
class Trained:
    """A trained recipe and its folder."""

    file: Path
    overrides: list[str]
    run: lorarec.Recommender
    folder: Path


@pytest.fixture(scope="module", params=RECIPES, ids=lambda file: file.stem)
def recipe(request: pytest.FixtureRequest) -> Path:
    file: Path = request.param
    return file


@pytest.fixture(scope="module")
def trained(recipe: Path, small_data: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    overrides = [*small_data(open_recipe(recipe).recipe.data.source.name), *SHORT]
    folder = tmp_path_factory.mktemp("recipes") / "run"
    return Trained(recipe, overrides, lorarec.train(recipe, overrides, output=folder), folder)


def test_it_has_the_name_of_its_file_and_a_description(recipe: Path) -> None:
    opened = open_recipe(recipe).recipe
    assert opened.name == recipe.stem
    assert opened.description


def test_it_is_the_same_after_writing_and_reading(recipe: Path, tmp_path: Path) -> None:
    whole = full_recipe(open_recipe(recipe))
    copy = tmp_path / "copy.yaml"
    copy.write_text(write_yaml(whole), encoding="utf-8")
    assert full_recipe(open_recipe(copy)) == whole


def test_it_trains_and_gives_a_finite_value_for_every_metric(trained: Trained) -> None:
    written = json.loads((trained.folder / "metrics.json").read_text(encoding="utf-8"))
    assert 1 <= written["steps"] <= STEPS  # fewer if all examples fit into a batch
    expected = {metric.label for metric in open_recipe(trained.file).metrics}
    for part in ("validation", "test"):
        assert set(written[part]) == expected
        assert np.isfinite(list(written[part].values())).all()


def test_its_weights_change(trained: Trained) -> None:
    """Those of the head, and of the adapter if it trains."""
    run_data = gather_run_data(open_recipe(trained.file, trained.overrides))
    initial = dict(build_model(run_data, TrainingPlan(STEPS, STEPS, 0)).named_parameters())
    learned = dict(trained.run.model.named_parameters())
    trainable = [name for name, weight in initial.items() if weight.requires_grad]
    changed = {name for name in trainable if not torch.equal(initial[name].cpu(), learned[name].cpu())}
    for side in ("head.", "backbone."):
        of_this_side = {name for name in trainable if name.startswith(side)}
        assert not of_this_side or of_this_side & changed
    assert changed


def test_evaluating_its_run_gives_the_same_metrics(trained: Trained) -> None:
    again = evaluate(trained.folder)
    for part in ("validation", "test"):
        assert again[part] == pytest.approx(trained.run.metrics[part])


def test_its_run_predicts_and_recommends(trained: Trained) -> None:
    run = lorarec.load(trained.folder)
    items = list(run.catalog.ids[:3])
    assert np.isfinite(run.predict(items=items, histories=[items[1:]] * 3, feedback=[[5.0, 1.0]] * 3)).all()
    answers = run.recommend(histories=[items[1:]], k=3, feedback=[[5.0, 1.0]])[0]
    assert 1 <= len(answers) <= 3
    assert all(np.isfinite(answer.score) and answer.title for answer in answers)
