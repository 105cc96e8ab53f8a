"""Laws: initially equal to the frozen model; saved and loaded = before; merged = unmerged; PEFT loads the adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

import lorarec
from lorarec.contracts import View
from lorarec.errors import IncompatibleError
from lorarec.pipeline.evaluate import evaluate
from lorarec.pipeline.merge import merge

Make = Callable[..., dict[str, Any]]
Trained = Callable[[dict[str, Any]], Any]
ADAPTERS: dict[str, Any] = {
    "lora": "lora",
    "adalora": {"name": "adalora", "init_r": 4, "target_r": 2},
    "prefix": {"name": "prefix", "tokens": 4},
    "a method of PEFT": {"name": "peft", "method": "unilora"},
    "full": "full",
    "frozen": "frozen",
}
HEADS: dict[str, Any] = {
    "rating": "rating",
    "rating_process": {"name": "rating_process", "item_columns": ["category"], "loss": "ordinal"},
    "ctr": "ctr",
    "ctr_ridge": {
        "name": "ctr_ridge",
        "biases": True,
        "factors": 4,
        "item_columns": ["category"],
    },
    "next_item": {"name": "next_item", "width": 16},
}
FRESH = """
import json, sys, lorarec
answers = {}
for name, run in json.loads(sys.argv[1]).items():
    recommender = lorarec.load(run)
    ids = recommender.catalog.ids[:6]
    scores = recommender.predict(ids, [ids[:3]] * len(ids))
    best = recommender.recommend([ids[:3]], k=5)[0]
    answers[name] = [[float(s).hex() for s in scores], [(b.item, b.score.hex()) for b in best]]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """trained(recipe): the run as returned by training; the same recipe is trained only once."""
    runs: dict[str, Any] = {}

    def train(settings: dict[str, Any]) -> Any:
        key = json.dumps(settings, sort_keys=True)
        if key not in runs:
            runs[key] = lorarec.train(settings, output=tmp_path_factory.mktemp("trained") / "run")
        return runs[key]

    return train


def test_runs_loaded_in_a_fresh_process_answer_exactly_as_before(recipe: Make, trained: Trained) -> None:
    folders, answers = {}, {}
    for adapter, head in {*((a, "ctr") for a in ADAPTERS), *(("lora", h) for h in HEADS)}:
        run = trained(recipe(ADAPTERS[adapter], HEADS[head]))
        ids = run.catalog.ids[:6]
        scores = [float(score).hex() for score in run.predict(ids, [ids[:3]] * 6)]
        best = [[entry.item, entry.score.hex()] for entry in run.recommend([ids[:3]], k=5)[0]]
        folders[f"{adapter}, {head}"], answers[f"{adapter}, {head}"] = str(run.path), [scores, best]
    command = [sys.executable, "-c", FRESH, json.dumps(folders)]
    path = {"PYTHONPATH": str(Path(__file__).parent / "plugin"), "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | path).stdout
    assert json.loads(printed) == answers


@pytest.mark.parametrize("head", ["ctr", "next_item"])
def test_a_run_trained_in_mixed_precision_answers_as_it_does_when_loaded(
    head: str, recipe: Make, tmp_path: Path
) -> None:
    trained = lorarec.train(recipe(head=HEADS[head], train={"precision": "bf16"}), output=tmp_path / "run")
    ids = trained.catalog.ids[:6]
    again = lorarec.load(tmp_path / "run").predict(ids, [ids[:3]] * 6)
    assert again.tolist() == trained.predict(ids, [ids[:3]] * 6).tolist()


def test_evaluating_a_finished_run_gives_the_metrics_of_its_training(recipe: Make, trained: Trained) -> None:
    for head in HEADS:
        run = trained(recipe("lora", HEADS[head]))
        again = evaluate(run.path)
        assert {part: again[part] for part in ("validation", "test", "baselines")} == {
            part: run.metrics[part] for part in ("validation", "test", "baselines")
        }


def test_a_backbone_that_was_initialized_at_random_is_saved_and_answers_as_before(recipe: Make, tmp_path: Path) -> None:
    head = {"name": "next_item", "width": 16, "encoder": "backbone_steps", "ids": False}
    settings = recipe("full", head, backbone={"name": "sasrec", "hidden_size": 16, "layers": 1})
    trained = lorarec.train(settings, output=tmp_path / "run")
    ids = trained.catalog.ids[:6]
    again = lorarec.load(tmp_path / "run").predict(ids, [ids[:3]] * 6)
    assert again.tolist() == trained.predict(ids, [ids[:3]] * 6).tolist()


def test_a_new_lora_equals_the_frozen_model(recipe: Make, tmp_path: Path) -> None:
    # One step with a learning rate that changes nothing: the model is the initial one.
    unchanged = {"max_steps": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    initial = lorarec.train(recipe("lora", train=unchanged), output=tmp_path / "lora")
    frozen = lorarec.train(recipe("frozen", train=unchanged), output=tmp_path / "frozen")
    assert initial.metrics["test"] == frozen.metrics["test"]


@pytest.mark.parametrize("adapter", ["lora", "adalora", "full"])
def test_a_merged_backbone_is_a_plain_transformers_folder_with_the_same_vectors(
    adapter: str, recipe: Make, trained: Trained, tmp_path: Path
) -> None:
    folder = trained(recipe(ADAPTERS[adapter])).path
    merged = transformers.AutoModel.from_pretrained(merge(folder, tmp_path / "merged")).eval()
    run = lorarec.load(folder)
    features = run.featurizer([View(candidate=row) for row in range(8)])
    with torch.no_grad():
        ours = run.model.backbone.encode(run.model.network, features).pooled
        theirs = run.model.backbone.encode(merged, features).pooled
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_adapter_without_a_merged_form_is_refused_and_leaves_nothing(
    recipe: Make, trained: Trained, tmp_path: Path
) -> None:
    with pytest.raises(IncompatibleError, match="prefix"):
        merge(trained(recipe(ADAPTERS["prefix"])).path, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("adapter", ["lora", "adalora", "prefix"])
def test_plain_peft_loads_the_adapter_folder_and_gives_the_same_vectors(
    adapter: str, recipe: Make, trained: Trained
) -> None:
    settings = recipe(ADAPTERS[adapter])
    run = trained(settings)
    attention = run.model.backbone.architecture().attention  # another implementation rounds differently
    base = transformers.AutoModel.from_pretrained(settings["backbone"]["checkpoint"], attn_implementation=attention)
    plain = peft.PeftModel.from_pretrained(base, run.path / "adapter").eval()
    features = run.featurizer([View(candidate=row) for row in range(8)])
    with torch.no_grad():
        ours = run.model.backbone.encode(run.model.network, features).pooled
        theirs = run.model.backbone.encode(plain, features).pooled
    # A prefix is computed once for each batch here and once for each row there.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 if adapter == "prefix" else 0)


def test_unknown_ids_are_named_and_left_out(recipe: Make, trained: Trained) -> None:
    run = trained(recipe())
    known = run.catalog.ids[0]
    with pytest.warns(UserWarning, match="1 unknown item to score gets no score: nowhere"):
        scores = run.predict([known, "nowhere"], [[known], [known]])
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1])
    with pytest.warns(UserWarning, match="1 unknown item in histories is left out of them: nothing"):
        answers = run.recommend([[known, "nothing"]], k=3)
    assert answers == run.recommend([[known]], k=3)
