"""Hidden states of frozen lower blocks: cached once, and nothing else changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from safetensors.torch import load_file

import lorarec
from lorarec.pipeline.check import check

Recipe = Callable[..., dict[str, Any]]
UPPER = {"name": "lora", "r": 2, "layers": [-1]}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "lorarec" / "layers"


@pytest.fixture
def recipe(tiny_checkpoint: Callable[[str], Path]) -> Recipe:
    """The recipe of a short run on a synthetic shop."""

    def make(adapter: Any, head: str = "ctr", backbone: str = "bert", **train: Any) -> dict[str, Any]:
        return {
            "name": "cached",
            "data": {"source": {"name": "synthetic", "users": 20, "items": 30, "events": 200}},
            "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint(backbone)), "max_length": 32},
            "adapter": adapter,
            "head": head,
            "train": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-2, **train},
        }

    return make


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All trained weights of a run."""
    files = [*run.glob("adapter/*.safetensors"), run / "head.safetensors"]
    return {f"{file.name} {name}": value for file in files for name, value in load_file(file).items()}


@pytest.mark.parametrize("head", ["ctr", "rating", "rating_process", "next_item"])
def test_training_with_cached_states_is_training_without_them(
    recipe: Recipe, head: str, cache: Path, tmp_path: Path
) -> None:
    kept = lorarec.train(recipe(UPPER, head), output=tmp_path / "kept")
    assert len(list(cache.iterdir())) == 1
    plain = lorarec.train(recipe(UPPER, head, cache_frozen_layers=False), output=tmp_path / "plain")
    one, other = weights(tmp_path / "kept"), weights(tmp_path / "plain")
    assert one.keys() == other.keys()
    for name in one:
        # Items are padded in other batches when their states are computed: the last digits may differ.
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4, msg=name)
    for metric, value in kept.metrics["test"].items():
        assert plain.metrics["test"][metric] == pytest.approx(value, abs=1e-4)


def test_blocks_below_the_adapter_are_not_computed_while_training(
    recipe: Recipe, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.bert.modeling_bert import BertLayer

    computed: list[int] = []
    forward = BertLayer.forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        computed.append(id(self))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(BertLayer, "forward", counted)
    lorarec.train(recipe(UPPER), output=tmp_path / "run")
    *others, lower, upper = sorted(computed.count(block) for block in set(computed))
    assert lower < upper / 3, "the lower block runs only to fill the cache"
    assert len(others) == 2 and max(others) <= 6, "the backbone that checks the saved run reads a few items and rows"


def test_cached_states_are_read_again_and_give_the_same_weights(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    lorarec.train(recipe(UPPER), output=tmp_path / "first")
    (file,) = cache.iterdir()
    made = file.stat().st_mtime_ns
    lorarec.train(recipe(UPPER), output=tmp_path / "second")
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [made]
    one, other = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_texts_and_other_weights_have_states_of_their_own(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    settings = recipe(UPPER)
    lorarec.train(settings, output=tmp_path / "one")
    lorarec.train(settings, ["backbone.templates.item='a {title}'"], output=tmp_path / "other_texts")
    assert len(list(cache.iterdir())) == 2
    lorarec.train(settings, ["backbone.dtype=bfloat16"], output=tmp_path / "other_weights")
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize(
    ("adapter", "overrides"),
    [
        ({"name": "lora"}, []),
        ({"name": "prefix"}, []),
        ({"name": "frozen"}, []),
        (UPPER, ["backbone.dropout=true"]),
        (UPPER, ["train.cache_frozen_layers=false"]),
        ({"name": "full", "layers": [-1], "embeddings": True}, []),
    ],
)
def test_nothing_is_cached_where_the_lower_blocks_change_or_the_recipe_disables_it(
    recipe: Recipe, cache: Path, tmp_path: Path, adapter: Any, overrides: list[str]
) -> None:
    lorarec.train(recipe(adapter, max_steps=1), overrides, output=tmp_path / "run")
    assert not cache.exists()


def test_full_fine_tuning_of_upper_blocks_and_bfloat16_are_cached_too(
    recipe: Recipe, cache: Path, tmp_path: Path
) -> None:
    lorarec.train(recipe({"name": "full", "layers": [-1]}, max_steps=2), output=tmp_path / "full")
    lorarec.train(recipe(UPPER, max_steps=2), ["backbone.dtype=bfloat16"], output=tmp_path / "half")
    assert len(list(cache.iterdir())) == 2


def test_an_encoder_that_cannot_be_started_above_its_blocks_trains_without_a_cache(
    recipe: Recipe, cache: Path, tmp_path: Path
) -> None:
    lorarec.train(recipe(UPPER, backbone="deberta-v2", max_steps=2), output=tmp_path / "run")
    assert not cache.exists()


def test_a_finished_run_predicts_as_it_did_in_training(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    trained = lorarec.train(recipe(UPPER, "next_item"), output=tmp_path / "run")
    loaded = lorarec.load(tmp_path / "run")
    item = loaded.catalog.ids[0]
    expected = trained.predict(items=[item], histories=[[item]])
    assert loaded.predict(items=[item], histories=[[item]]) == pytest.approx(expected, abs=1e-4)


def test_without_room_on_the_disk_the_states_stay_in_memory_and_the_weights_are_the_same(
    recipe: Recipe, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lorarec.train(recipe(UPPER, max_steps=2), output=tmp_path / "kept")
    shutil.rmtree(cache)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 0, 10))
    lorarec.train(recipe(UPPER, max_steps=2), output=tmp_path / "run")
    one, other = weights(tmp_path / "kept"), weights(tmp_path / "run")
    assert all(torch.equal(one[name], other[name]) for name in one)
    monkeypatch.setattr("lorarec.data.cache._SHARE", 0.0)
    caplog.clear()
    lorarec.train(recipe(UPPER, max_steps=2), output=tmp_path / "without")
    last = weights(tmp_path / "without")
    assert "slower" in caplog.text and one.keys() == last.keys()
    for name, value in one.items():
        torch.testing.assert_close(last[name], value, atol=1e-4, rtol=1e-3)


def test_check_measures_with_cached_states_and_says_so(recipe: Recipe, cache: Path) -> None:
    lines = "\n".join(check(recipe(UPPER)).lines())
    assert "The lowest 1 of 2 blocks are frozen" in lines
    assert "blocks are frozen" not in "\n".join(check(recipe({"name": "lora"})).lines())
