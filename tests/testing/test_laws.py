"""The laws of the other kinds: a plugin that breaks one fails with a sentence that names it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn

from lorarec.contracts import (
    Callback,
    DataSource,
    Encoded,
    Histories,
    Interactions,
    Loss,
    Metric,
    Part,
    Plugin,
    RawTables,
    Requests,
    StrictConfig,
    TaskHead,
    named,
)
from lorarec.testing import (
    TinyBackbone,
    check_backbone,
    check_data_source,
    check_metric,
    check_plugin,
    check_task_head,
    tiny_backbone,
)
from lorarec_backbones.checkpoint import weights_fingerprint
from lorarec_heads.rating import Rating
from lorarec_metrics.regression import Rmse


@pytest.mark.parametrize("model_type", ["bert", "modernbert", "llama"])
def test_the_tiny_backbone_keeps_the_laws_of_backbones(model_type: str) -> None:
    check_backbone(tiny_backbone(model_type))


def test_a_backbone_that_reads_its_padding_is_detected() -> None:
    class Careless(TinyBackbone):
        def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
            return Encoded(module(**features).last_hidden_state.mean(1))

    with pytest.raises(AssertionError, match="padding is being read"):
        check_backbone(Careless(Careless.Config()))


def test_a_fingerprint_of_the_weights_as_they_are_now_is_detected() -> None:
    class Live(TinyBackbone):
        def fingerprint(self) -> str:
            return weights_fingerprint(self.module)

    with pytest.raises(AssertionError, match="must stay that of the weights as loaded"):
        check_backbone(Live(Live.Config()))


def test_a_copy_that_loads_as_other_weights_is_detected() -> None:
    class Forgetful(TinyBackbone):
        def is_reproducible(self) -> bool:
            return False

        def load_from(self, folder: Path) -> None:
            self.config = self.config.model_copy(update={"model_type": "roberta"})

    with pytest.raises(AssertionError, match="the copy that save wrote has other weights"):
        check_backbone(Forgetful(Forgetful.Config()))


def test_a_metric_with_the_wrong_direction_is_detected() -> None:
    class Wrong(Rmse):
        higher_is_better: ClassVar[bool] = True

    check_metric(Rmse)
    with pytest.raises(AssertionError, match="is higher_is_better right"):
        check_metric(Wrong)


def test_a_metric_that_gives_both_the_same_does_not_fail_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([4e-18, 0.0, 0.0])
    monkeypatch.setattr("lorarec.testing.plugin_laws._value", lambda *given: next(values))
    monkeypatch.setattr(Rmse, "weighted", lambda *given: None)
    check_metric(Rmse)


def test_a_metric_whose_weighted_value_is_that_of_another_one_is_detected() -> None:
    class Squared(Rmse):
        def value(self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
            return super().value(predictions, references, users) ** 0.5

        def weighted(self, *given: np.ndarray) -> np.ndarray:
            return super().weighted(*given) ** 2

    with pytest.raises(AssertionError, match="intervals would be those of another metric"):
        check_metric(Squared)


def test_a_metric_that_ignores_the_weights_of_its_rows_is_detected() -> None:
    class Unweighted(Rmse):
        def weighted(self, *given: np.ndarray) -> np.ndarray:
            return super().weighted(*given[:3], np.ones_like(given[3]))

    with pytest.raises(AssertionError, match="does it use `weights`"):
        check_metric(Unweighted)


def test_a_source_that_shuffles_is_detected() -> None:
    class Shuffled(DataSource):
        name = "shuffled"
        summary = "another order each time"
        seed = 0

        def load(self) -> RawTables:
            self.seed += 1
            table = Dataset.from_dict({"user": list("abcdef"), "item": list("uvwxyz")})
            return RawTables(table.shuffle(seed=self.seed).flatten_indices(), origin="here")

    with pytest.raises(AssertionError, match="loading twice gave other rows"):
        check_data_source(Shuffled(Shuffled.Config()))


def test_a_setting_without_a_description_is_named() -> None:
    class Terse(Callback):
        class Config(Callback.Config):
            size: int = 3

    with pytest.raises(AssertionError, match=r"setting 'size' of .*Terse has no description"):
        check_plugin(Terse)


@pytest.mark.parametrize(
    ("contract", "unset"),
    [(Loss, "shape"), (Metric, "reads, higher_is_better"), (TaskHead, "predictor, default_metrics")],
)
def test_what_a_class_must_set_and_does_not_is_named(contract: type[Plugin], unset: str) -> None:
    class Bare(contract):  # type: ignore[misc, valid-type]
        name = "bare"
        summary = "a name and nothing else"

    with pytest.raises(AssertionError, match=f"Bare does not set {unset}, as its contract asks"):
        check_plugin(Bare)


def test_a_setting_that_names_a_loss_without_its_shapes_is_refused_with_the_right_form() -> None:
    with pytest.raises(TypeError, match=r'loss: Annotated\[Loss, Takes\("binary"\)\] = named\("bce"\)'):

        class Settings(StrictConfig):
            loss: Loss = named("bce")


@pytest.mark.parametrize("name", ["rating", "ctr", "next_item.task"])
def test_our_own_heads_keep_the_laws_of_heads(name: str) -> None:
    for head in importlib.import_module(f"lorarec_heads.{name}").lorarec_task_heads():
        check_task_head(head)


def test_a_head_that_makes_its_labels_is_given_data_without_them() -> None:
    (head,) = importlib.import_module("lorarec_heads.ctr").lorarec_task_heads()
    check_task_head(head, negatives=2)
    check_task_head(head, loss="ranking", negatives=3, negatives_per_positive=2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda head: next(head.parameters()).add_(1), "refresh must not change trainable weights"),
        (lambda head: head.item_weights.add_(torch.rand(1)), "refresh must give the same results"),
    ],
)
def test_a_head_whose_refresh_breaks_a_law_fails_with_its_name(
    change: Callable[[nn.Module], Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("lorarec_process.rating_process", reason="lorarec-process is not installed")
    monkeypatch.setattr(package.ProcessNetwork, "refresh", lambda head, pooled: change(head))
    with pytest.raises(AssertionError, match=sentence):
        check_task_head(package.RatingProcess)


class WithoutLabels(Rating):
    """Its batches have labels, its examples do not."""

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        examples = super().examples(interactions, histories, part)
        return examples if part == Part.TRAIN else examples.select_columns(["event"])


class Demanding(Rating):
    """Reads labels where there are none."""

    def requests(self, requests: Requests) -> Dataset:
        requests.events.column("rating")
        return super().requests(requests)


class Reversed(Rating):
    """Answers requests in another order."""

    def requests(self, requests: Requests) -> Dataset:
        rows = super().requests(requests)
        return rows.select(range(len(rows))[::-1])


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (WithoutLabels, "examples must have the column 'label'"),
        (Demanding, "requests must be answered without further columns: they have no rating, click or time"),
        (Reversed, "the rows of requests must be one per request, in order"),
    ],
)
def test_a_head_that_cannot_be_evaluated_or_used_for_requests_is_detected(broken: type[Rating], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_task_head(broken)
