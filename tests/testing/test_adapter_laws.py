"""The laws of adapters bite: the error of an adapter that breaks one names it."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Backbone,
    Callback,
    IncompatibleError,
    PeftAdapter,
    TrainingPlan,
    TrainState,
)
from lorarec.testing import check_adapter, tiny_backbone


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
