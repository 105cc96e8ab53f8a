"""Law: only what `check` listed has moved, and all of it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorarec.contracts import Part, TrainingPlan
from lorarec.engine.fit import Fit
from lorarec.pipeline import train as training
from lorarec.pipeline.assemble import gather_materials, open_recipe
from lorarec.pipeline.build_model import build_model
from lorarec.pipeline.check import check

Make = Callable[..., dict[str, Any]]
ADAPTERS: dict[str, Any] = {
    "lora": "lora",
    "adalora": {"name": "adalora", "init_r": 4, "target_r": 2},
    "prefix": {"name": "prefix", "tokens": 4},
    "full": "full",
    "frozen": "frozen",
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_only_what_check_listed_has_moved_and_all_of_it(
    adapter: str, recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(ADAPTERS[adapter], train={"learning_rate": 1e-2})
    listed = set(check(settings).tensors)
    resolved = open_recipe(settings)
    materials = gather_materials(resolved)
    steps = 2 * -(-len(materials.examples[Part.TRAIN]) // 32)
    born = build_model(materials, TrainingPlan(steps, 2, 5))
    before = {name: parameter.detach().clone() for name, parameter in born.named_parameters()}
    seen: dict[str, torch.Tensor] = {}

    def look(fit: Fit, state: Any) -> None:
        """After the last step, before the best weights are put back."""
        seen.update({name: parameter.detach().clone() for name, parameter in fit.model.named_parameters()})

    monkeypatch.setattr(training, "_take_best", look)
    training.train(settings, output=tmp_path / "run")
    moved = {name for name, value in seen.items() if not torch.equal(value, before[name])}
    # What AdaLoRA counts its ranks by is no weight: it follows from the singular values.
    moved = {name for name in moved if "ranknum" not in name}
    assert moved == listed
