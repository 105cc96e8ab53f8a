"""Law: training changes exactly the weights that `check` lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorarec.contracts import Part, TrainingPlan
from lorarec.engine.fit import Fit
from lorarec.pipeline import train as training
from lorarec.pipeline.assemble import gather_run_data, open_recipe
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
def test_training_changes_exactly_the_weights_that_check_lists(
    adapter: str, recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(ADAPTERS[adapter], train={"learning_rate": 1e-2})
    listed = set(check(settings).tensors)
    resolved = open_recipe(settings)
    run_data = gather_run_data(resolved)
    steps = 2 * -(-len(run_data.examples[Part.TRAIN]) // 32)
    initial = build_model(run_data, TrainingPlan(steps, 2, 5))
    before = {name: parameter.detach().clone() for name, parameter in initial.named_parameters()}
    after: dict[str, torch.Tensor] = {}

    def record(fit: Fit, state: Any) -> None:
        """After the last step, before the best weights are loaded."""
        after.update({name: parameter.detach().clone() for name, parameter in fit.model.named_parameters()})

    monkeypatch.setattr(training, "_take_best", record)
    training.train(settings, output=tmp_path / "run")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    # AdaLoRA's count of ranks is not a trained weight: it is computed from the singular values.
    changed = {name for name in changed if "ranknum" not in name}
    assert changed == listed
