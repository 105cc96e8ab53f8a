"""The laws bite: a plugin that breaks one is told which."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Backbone,
    Callback,
    DataSource,
    Encoded,
    Histories,
    IncompatibleError,
    Interactions,
    Loss,
    Metric,
    Part,
    PeftAdapter,
    Plugin,
    RawTables,
    Requests,
    StrictConfig,
    TaskHead,
    TrainingPlan,
    TrainState,
    named,
    plugin,
)
from lorarec.testing import (
    FAMILIES,
    TinyBackbone,
    check_adapter,
    check_backbone,
    check_data_source,
    check_loss,
    check_metric,
    check_plugin,
    check_task_head,
    tiny_backbone,
)
from lorarec_heads.process_network import ProcessNetwork
from lorarec_heads.rating import Rating
from lorarec_heads.rating_process import RatingProcess
from lorarec_metrics.regression import Rmse

README = Path(__file__).parents[2] / "docs" / "plugins.md"


class Biases(Adapter):
    """Trains biases, rightly."""

    name = "biases"
    summary = "biases train"

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        for path, parameter in backbone.module.named_parameters():
            parameter.requires_grad_(path.endswith(".bias"))
        return backbone.module

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        save_file({n: p.detach() for n, p in module.named_parameters() if p.requires_grad}, folder / "b.safetensors")

    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        module, saved = self.attach(backbone, TrainingPlan(1, 1, 0)), load_file(folder / "b.safetensors")
        self.check_saved({n for n, p in module.named_parameters() if p.requires_grad} ^ set(saved))
        module.load_state_dict(saved, strict=False)
        return module.eval()

    def check_saved(self, different: set[str]) -> None:
        if different:
            raise IncompatibleError(f"other weights than were saved: {sorted(different)[:3]}")

    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        return module


class Forgetful(Biases):
    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        return self.attach(backbone, TrainingPlan(1, 1, 0)).eval()


class Silent(Forgetful):
    """Writes nothing, and restores what was never trained."""

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        pass


class Lenient(Biases):
    """Does not look whether the file holds what it should."""

    def check_saved(self, different: set[str]) -> None:
        pass


class Still(Biases):
    """Hardly learns: its gradients are scaled to nothing but the sign of rounding."""

    def callbacks(self, module: nn.Module) -> list[Callback]:
        return [Undone([p for p in module.parameters() if p.requires_grad])]


class Undone(Callback):
    """Takes back nearly all of each step."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        super().__init__(self.Config())
        self.pairs = [(weight, weight.detach().clone()) for weight in weights]

    def on_optimizer_step(self, state: TrainState) -> None:
        with torch.no_grad():
            for weight, before in self.pairs:
                weight.copy_(before + (weight - before) / 1000)


class WrongStart(Biases):
    """Starts from other weights than were saved."""

    def warm_start(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        pass


class StillOn(Biases):
    """Switches nothing off."""

    def disabled(self, module: nn.Module) -> AbstractContextManager[None]:
        return nullcontext()


class Mixed(PeftAdapter):
    """Leaves the adapter that was asked for last switched on for everyone."""

    name = "mixed"
    summary = "confuses its adapters"

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        return LoraConfig(r=2)

    def active(self, module: Any, name: str = OWN_ADAPTER) -> AbstractContextManager[None]:
        return nullcontext()


class Leaky(Biases):
    """Moves a weight that it does not list."""

    def penalty(self, module: nn.Module) -> Tensor | None:
        with torch.no_grad():
            module.get_parameter("embeddings.word_embeddings.weight").mul_(0.9)
        return None


class Unlisted(Biases):
    """Lists a weight that no forward reads."""

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        module = super().attach(backbone, plan)
        module.register_parameter("extra", nn.Parameter(torch.zeros(1)))
        return module


class Changed(Biases):
    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(2)
        return module


def test_a_rightly_made_adapter_passes() -> None:
    check_adapter(Biases, tiny_backbone())


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Forgetful, "the restored module gives other outputs than the saved one"),
        (Leaky, "'embeddings.word_embeddings.weight' is not marked trainable but moved"),
        (Unlisted, "'extra' is marked trainable but gets no gradient"),
        (Changed, "the merged module's outputs differ"),
        (Silent, "weights train, but save wrote no file"),
        (Lenient, "restore must refuse a b.safetensors that lacks a weight"),
        (Still, "the adapter trains nothing of use"),
        (WrongStart, "after warm_start the module gives other outputs than the saved one"),
        (StillOn, "switched off, the module gives other outputs than the bare backbone"),
        (Mixed, "beside another one, the adapter 'lora' gives other outputs than alone"),
    ],
)
def test_an_adapter_that_breaks_a_law_is_told_which(broken: type[Adapter], sentence: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(sentence)):
        check_adapter(broken, tiny_backbone())


@pytest.mark.parametrize("model_type", ["bert", "modernbert", "llama"])
def test_the_tiny_backbone_keeps_the_laws_of_backbones(model_type: str) -> None:
    check_backbone(tiny_backbone(model_type))


def test_a_backbone_that_reads_its_padding_is_told_so() -> None:
    class Careless(TinyBackbone):
        def encode(self, module: nn.Module, features: dict[str, Tensor]) -> Encoded:
            return Encoded(module(**features).last_hidden_state.mean(1))

    with pytest.raises(AssertionError, match="padding is being read"):
        check_backbone(Careless(Careless.Config()))


def test_a_metric_with_the_wrong_direction_is_told_so() -> None:
    class Wrong(Rmse):
        higher_is_better: ClassVar[bool] = True

    check_metric(Rmse)
    with pytest.raises(AssertionError, match="is higher_is_better right"):
        check_metric(Wrong)


def test_a_metric_that_gives_both_the_same_is_not_judged_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([4e-18, 0.0, 0.0])
    monkeypatch.setattr("lorarec.testing.plugin_laws._value", lambda *given: next(values))
    monkeypatch.setattr(Rmse, "weighted", lambda *given: None)
    check_metric(Rmse)


def test_a_metric_whose_intervals_would_be_of_another_one_is_told_so() -> None:
    class Squared(Rmse):
        def value(self, predictions: np.ndarray, references: np.ndarray, users: np.ndarray) -> float:
            return super().value(predictions, references, users) ** 0.5

        def weighted(self, *given: np.ndarray) -> np.ndarray:
            return super().weighted(*given) ** 2

    with pytest.raises(AssertionError, match="intervals would be those of another metric"):
        check_metric(Squared)


def test_a_source_that_shuffles_is_told_so() -> None:
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
    class Terse(Biases):
        class Config(Adapter.Config):
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


def test_a_setting_that_names_a_loss_without_its_shapes_is_told_how_to_write_it() -> None:
    with pytest.raises(TypeError, match=r'loss: Annotated\[Loss, Takes\("binary"\)\] = named\("bce"\)'):

        class Settings(StrictConfig):
            loss: Loss = named("bce")


@contextmanager
def printed(file: str, folder: Path) -> Iterator[ModuleType]:
    """The module that the docs spell out in the block that begins with this name."""
    (block,) = re.findall(rf"```python\n(# {file}\n.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (folder / file).write_text(block, encoding="utf-8")
    name = file.removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, folder / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "options"),
    [("my_plugin.py", [{}, {"norms": False}]), ("my_method.py", [{"r": 4}, {"r": 4, "layers": [-1]}])],
)
def test_the_adapters_in_the_docs_work_as_printed(file: str, options: list[dict[str, Any]], tmp_path: Path) -> None:
    with printed(file, tmp_path) as module:
        (adapter,) = module.lorarec_adapters()
        for model_type, settings in zip(["bert", "gpt2"], options, strict=True):
            check_adapter(adapter, tiny_backbone(model_type), **settings)


def test_the_loss_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    with printed("focal.py", tmp_path) as module:
        (loss,) = module.lorarec_losses()
        check_loss(loss, gamma=1.0)


def test_the_metric_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    with printed("my_metric.py", tmp_path) as module:
        (metric,) = module.lorarec_metrics()
        check_metric(metric)
        numbers = {"predictions": [1.0, 2.0, 9.0], "references": [1.0, 3.0, 3.0], "users": [0, 0, 1]}
        assert metric(metric.Config()).module().compute(**numbers) == {"median_error": 1.0}


def test_the_callback_in_the_docs_stops_training_and_counts_on_where_it_is_resumed(tmp_path: Path) -> None:
    with printed("my_callback.py", tmp_path) as module:
        (callback,) = module.lorarec_callbacks()
        check_plugin(callback)
        state, patient = TrainState(), callback(callback.Config(seconds=1000))
        patient.on_fit_start(state)
        patient.on_optimizer_step(state)
        assert not state.stop
        patient.load_state_dict(patient.state_dict() | {"spent": 1001.0})
        patient.on_fit_start(state)
        patient.on_optimizer_step(state)
        assert state.stop and state.stop_reason == "1000 seconds have passed"


def test_the_package_in_the_docs_is_whole() -> None:
    (written,) = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    package = tomllib.loads(written)
    assert {"name", "version", "dependencies"} <= package["project"].keys()
    assert list(package["project"]["entry-points"]["lorarec"].values()) == package["tool"]["setuptools"]["py-modules"]


def test_the_head_in_the_docs_works_as_printed(tmp_path: Path) -> None:
    with printed("my_head.py", tmp_path) as module:
        (head,) = module.lorarec_task_heads()
        check_task_head(head, max_history=3)


@pytest.mark.parametrize("name", ["rating", "rating_process", "ctr", "next_item"])
def test_our_own_heads_keep_the_laws_of_heads(name: str) -> None:
    for head in importlib.import_module(f"lorarec_heads.{name}").lorarec_task_heads():
        check_task_head(head)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda head: next(head.parameters()).add_(1), "refresh must leave weights that train as they are"),
        (lambda head: head.item_weights.add_(torch.rand(1)), "refresh must find the same whenever"),
    ],
)
def test_a_head_whose_refresh_breaks_a_law_is_told_which(
    change: Callable[[nn.Module], Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProcessNetwork, "refresh", lambda head, pooled: change(head))
    with pytest.raises(AssertionError, match=sentence):
        check_task_head(RatingProcess)


class WithoutLabels(Rating):
    """Its batches have labels, its examples do not."""

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        found = super().examples(interactions, histories, part)
        return found if part == Part.TRAIN else found.select_columns(["event"])


class Demanding(Rating):
    """Reads labels where there are none."""

    def requests(self, requests: Requests) -> Dataset:
        requests.events.column("rating")
        return super().requests(requests)


class Reversed(Rating):
    """Answers requests in another order."""

    def requests(self, requests: Requests) -> Dataset:
        found = super().requests(requests)
        return found.select(range(len(found))[::-1])


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (WithoutLabels, "examples must have the column 'label'"),
        (Demanding, "requests must be answered as they are: they have no rating, click or time"),
        (Reversed, "the rows of requests must be one a request, in order"),
    ],
)
def test_a_head_that_cannot_be_judged_or_asked_is_told_so(broken: type[Rating], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_task_head(broken)


def test_the_readme_lists_every_hook_and_every_family() -> None:
    text = README.read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(lorarec_\w+)`", text, re.MULTILINE))
    assert listed == {name for name in vars(plugin) if name.startswith("lorarec_")}
    assert len(FAMILIES) == 10
