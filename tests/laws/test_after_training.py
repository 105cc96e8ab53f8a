"""Uses of a finished run: evaluation by slices, calibration, diversified lists."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lorarec
from lorarec.cli.main import run as command
from lorarec.contracts import OWN_ADAPTER, Backbone, Batch, Encoder, TrainingPlan, Views
from lorarec.errors import LorarecError, PluginError
from lorarec.model.rec_model import RecModel
from lorarec.pipeline import check_saved
from lorarec.pipeline.calibrate import calibrate
from lorarec.pipeline.evaluate import compare_lists, evaluate
from lorarec_adapters.full import Full
from lorarec_heads.ctr import CtrNetwork

Make = Callable[..., dict[str, Any]]
QUICK = {"max_steps": 2, "epochs": 1}


def test_a_calibrated_run_answers_with_calibrated_probabilities(
    recipe: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = lorarec.train(recipe("frozen", "ctr", train=QUICK), output=tmp_path / "run")
    ids = run.catalog.ids[:5]
    before = run.predict(ids, [ids[:2]] * 5)
    for method in ("isotonic", "temperature"):  # the later one replaces the earlier
        assert command(["calibrate", str(tmp_path / "run"), "--method", method]) == 0
    printed = capsys.readouterr().out
    assert "ece" in printed and "Temperature: " in printed
    loaded = lorarec.load(tmp_path / "run")
    assert loaded.calibration is not None
    assert loaded.predict(ids, [ids[:2]] * 5).tolist() == pytest.approx(loaded.calibration(before).tolist(), abs=1e-6)
    (best,) = loaded.recommend([ids[:2]], k=1)
    assert best[0].score == pytest.approx(loaded.predict([best[0].item], [ids[:2]])[0], abs=1e-6)
    losses = {(part, name): (old, new) for part, name, old, new in calibrate(tmp_path / "run").rows}
    assert losses["validation", "log_loss"][1] <= losses["validation", "log_loss"][0]
    metrics = evaluate(tmp_path / "run")
    assert metrics["protocol"]["probabilities"].startswith("calibrated on validation by temperature")
    assert metrics["test"]["log_loss"] == pytest.approx(losses["test", "log_loss"][1], abs=1e-6), "evaluate uses it"


def test_a_run_that_predicts_no_clicks_cannot_be_calibrated(recipe: Make, tmp_path: Path) -> None:
    lorarec.train(recipe("frozen", "rating", train=QUICK), output=tmp_path / "run")
    with pytest.raises(LorarecError, match="head 'rating' predicts no probabilities"):
        calibrate(tmp_path / "run")


def test_diversified_lists_are_measured_next_to_those_by_score(
    recipe: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = lorarec.train(
        recipe("frozen", "next_item", train=QUICK, evaluate={"metrics": ["hr@10", "coverage@10"]}),
        output=tmp_path / "run",
    )
    measures = {name: (plain, diverse) for name, plain, diverse in compare_lists(tmp_path / "run", 0.8)}
    assert measures["hit rate of the first 10"][0] == pytest.approx(run.metrics["test"]["hr@10"])
    assert measures["coverage"][0] == pytest.approx(run.metrics["test"]["coverage@10"])
    assert measures["intra-list diversity"][1] > measures["intra-list diversity"][0]
    assert run.item_vectors is not None
    assert torch.equal(run.vectors(), run.item_vectors[:, :-1]), "the last one is the bias: popularity, not similarity"
    assert command(["evaluate", str(tmp_path / "run"), "--slices", "--diversify", "0.8"]) == 0
    printed = capsys.readouterr().out
    assert "users: " in printed and "diversified 0.8" in printed

    (tmp_path / "h.csv").write_text(f"history\n{run.catalog.ids[0]}|{run.catalog.ids[1]}\n")
    words = [
        "recommend",
        str(tmp_path / "run"),
        "--histories",
        str(tmp_path / "h.csv"),
        "--output",
        str(tmp_path / "o.csv"),
    ]
    assert command([*words, "--diversify", "0.5"]) == 0
    printed = capsys.readouterr().err
    assert "The lists: coverage " in printed and "novelty" in printed


def test_lists_are_not_compared_with_metrics_that_mask_more_than_histories(recipe: Make, tmp_path: Path) -> None:
    settings = recipe("frozen", "next_item", train=QUICK)
    settings["data"]["split"] = {"by": "random", "validation": 0.15, "test": 0.15}
    lorarec.train(settings, output=tmp_path / "run")
    with pytest.raises(LorarecError, match="exclude items from the ranking that are not in the history"):
        compare_lists(tmp_path / "run", 0.3)


def test_an_isotonic_calibration_leaves_the_order_of_recommendations(recipe: Make, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = lorarec.train(recipe("frozen", "ctr", train=QUICK), output=folder)
    before = [entry.item for entry in run.recommend([run.catalog.ids[:2]], k=8)[0]]
    assert command(["calibrate", str(folder), "--method", "isotonic"]) == 0
    after = lorarec.load(folder).recommend([run.catalog.ids[:2]], k=8)[0]
    assert [entry.item for entry in after] == before
    scores = [entry.score for entry in after]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) < len(scores)


def test_a_pointwise_head_diversifies_as_well(recipe: Make, tmp_path: Path) -> None:
    run = lorarec.train(recipe("frozen", "ctr", train=QUICK), output=tmp_path / "run")
    history = [run.catalog.ids[:2]]
    plain, diverse = (run.recommend(history, k=8, diversify=weight)[0] for weight in (0.0, 0.9))
    assert plain[0] == diverse[0] and {entry.item for entry in plain} != {entry.item for entry in diverse}
    assert len({entry.item for entry in diverse}) == 8
    with pytest.raises(LorarecError, match="between 0"):
        run.recommend(history, diversify=1.5)
    for no_weight in ("a", True, float("nan")):
        with pytest.raises(LorarecError, match="give a weight between 0"):
            run.recommend(history, diversify=no_weight)


def test_an_adapter_that_does_not_save_what_it_trained_ends_in_an_error_and_no_run(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(self: Full, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        return self.attach(backbone, TrainingPlan(1, 1, 0)).eval()

    settings = recipe("full", train={"max_steps": 3})
    with monkeypatch.context() as patch:
        patch.setattr(Full, "save", lambda *given: None)
        patch.setattr(Full, "restore", untrained)
        with pytest.raises(PluginError, match=r"Adapter 'full' does not restore what was trained: .* differ by up to"):
            lorarec.train(settings, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert np.isfinite(lorarec.train(settings, output=tmp_path / "run", resume=True).predict(["i1"])).all()


@pytest.mark.parametrize("adapter", ["frozen", "lora"])
def test_a_head_that_keeps_state_outside_of_its_weights_ends_in_an_error_and_can_be_resumed(
    adapter: str, recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = CtrNetwork.score

    def with_steps(self: CtrNetwork, encode: Encoder, batch: Batch) -> torch.Tensor:
        return scored(self, encode, batch) / (1 + getattr(self, "steps", 0))

    losses = CtrNetwork.losses

    def counted(self: CtrNetwork, encode: Encoder, batch: Batch) -> torch.Tensor:
        self.steps = getattr(self, "steps", 0) + 1
        return losses(self, encode, batch)

    settings = recipe(adapter, train={"max_steps": 3})
    with monkeypatch.context() as patch:
        patch.setattr(CtrNetwork, "score", with_steps)
        patch.setattr(CtrNetwork, "losses", counted)
        with pytest.raises(PluginError, match=r"Head 'ctr' does not restore .* predictions of the saved run differ"):
            lorarec.train(settings, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert lorarec.train(settings, output=tmp_path / "run", resume=True).path.exists()


def test_a_saved_run_is_compared_without_encoding_the_catalog_again(
    recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    vectors = RecModel.vectors

    def counted(self: RecModel, views: Views, adapter: str = OWN_ADAPTER) -> torch.Tensor:
        encoded.append(len(views.order))
        return vectors(self, views, adapter)

    counted.__name__ = "vectors"  # by which the model finds its methods
    monkeypatch.setattr(RecModel, "vectors", counted)
    monkeypatch.setattr(check_saved, "ROWS", 1)
    monkeypatch.setattr(check_saved, "EVENTS", 2)
    settings = recipe("lora", "next_item", train={**QUICK, "precision": "bf16"})
    lorarec.train(settings, output=tmp_path / "run")
    catalog = max(encoded)
    assert encoded.count(catalog) <= 3, "validation, the final weights, and these in full precision"
    assert len(encoded) >= 5 and max(sorted(encoded)[:-3]) <= 3
