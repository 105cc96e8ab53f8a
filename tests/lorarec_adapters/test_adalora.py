from __future__ import annotations

import copy
import io
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import AutoModel

from lorarec.contracts import IncompatibleError, TrainState
from lorarec.testing import FAMILIES, check_adapter, tiny_backbone, tiny_catalog
from lorarec_adapters.adalora import AdaLora


def singular_values(module: nn.Module) -> list[Tensor]:
    return [p.detach().flatten().clone() for n, p in module.named_parameters() if ".lora_E." in n]


def trainable(module: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_the_untrained_model_is_the_frozen_one(model_type: str, attach: Any, loaded: Any, read: Any) -> None:
    _, backbone, module = attach(AdaLora, model_type)
    assert torch.equal(read(backbone, module), read(backbone, loaded(model_type).module))


def test_ranks_come_down_to_the_budget_and_differ_between_layers(attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(AdaLora, steps=40, init_r=6, target_r=2, targets="all-linear")
    state = train(adapter, backbone, module, 40)
    ranks = [int(values.count_nonzero()) for values in singular_values(module)]
    assert sum(ranks) == 2 * len(ranks)
    assert len(set(ranks)) > 1, "every layer kept the same rank: nothing was reallocated"
    assert state.logs["rank_budget"] == 2 * len(ranks)


def test_every_rank_trains_until_tinit(attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(AdaLora, steps=20, tinit=0.5, tfinal=0.3)
    state = train(adapter, backbone, module, 10, total=20)
    assert all(values.all() for values in singular_values(module))
    train(adapter, backbone, module, 2, state=state)
    assert not all(values.all() for values in singular_values(module))


def test_settled_ranks_stay_settled(attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(AdaLora, steps=20)
    callbacks, optimizer = adapter.callbacks(module), torch.optim.AdamW(module.parameters(), lr=1e-2)
    state = train(adapter, backbone, module, 14, total=20, optimizer=optimizer, callbacks=callbacks)
    settled = [values == 0 for values in singular_values(module)]
    train(adapter, backbone, module, 6, optimizer=optimizer, state=state, callbacks=callbacks)
    assert all(torch.equal(a, b == 0) for a, b in zip(settled, singular_values(module), strict=True))


@pytest.mark.parametrize("stop", [1, 5, 13, 14, 17])
def test_a_resumed_run_ends_with_the_same_bits(stop: int, attach: Any, train: Any) -> None:
    whole = attach(AdaLora, steps=20, dropout=0.1)
    run(train, whole, 0, 20)
    first = attach(AdaLora, steps=20, dropout=0.1)
    optimizer, callbacks = run(train, first, 0, stop)
    file = io.BytesIO()
    torch.save(
        {"o": optimizer.state_dict(), "c": [c.state_dict() for c in callbacks], "w": trainable(first[2])},
        file,
    )
    file.seek(0)
    kept = torch.load(file, weights_only=True)
    second = attach(AdaLora, steps=20, dropout=0.1)
    with torch.no_grad():
        for name, parameter in second[2].named_parameters():
            if name in kept["w"]:
                parameter.copy_(kept["w"][name])
    run(train, second, stop, 20 - stop, kept)
    expected, resumed = trainable(whole[2]), trainable(second[2])
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def run(train: Any, parts: Any, start: int, steps: int, kept: dict[str, Any] | None = None) -> tuple[Any, Any]:
    adapter, backbone, module = parts
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    callbacks, state = adapter.callbacks(module), TrainState(step=start, total_steps=20)
    if kept is not None:
        optimizer.load_state_dict(kept["o"])
        for callback, saved in zip(callbacks, kept["c"], strict=True):
            callback.load_state_dict(saved)
    for step in range(start, start + steps):
        torch.manual_seed(step)
        train(adapter, backbone, module, 1, optimizer=optimizer, state=state, callbacks=callbacks)
    return optimizer, callbacks


def test_without_the_allocators_state_a_resumed_run_would_differ(attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(AdaLora, steps=20)
    train(adapter, backbone, module, 8, total=20)
    state = adapter.callbacks(module)[0].state_dict()
    assert state["importance"] and state["uncertainty"] and state["rank_pattern"]


def test_the_penalty_is_the_mean_distance_from_orthogonality(attach: Any) -> None:
    adapter, _, module = attach(AdaLora, orthogonal_weight=0.7)
    norms = []
    for name, p in module.named_parameters():
        if "lora_A" in name:
            norms.append((p @ p.T - torch.eye(12)).pow(2).sum().sqrt())
        elif "lora_B" in name:
            norms.append((p.T @ p - torch.eye(12)).pow(2).sum().sqrt())
    assert len(norms) == 8
    penalty = adapter.penalty(module)
    assert penalty.requires_grad
    assert torch.allclose(penalty, 0.7 * torch.stack(norms).mean())
    assert attach(AdaLora, orthogonal_weight=0)[0].penalty(module) is None


def test_the_penalty_makes_the_matrices_more_orthogonal(attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(AdaLora, steps=30, orthogonal_weight=5.0)
    before = adapter.penalty(module).item()
    train(adapter, backbone, module, 30)
    assert adapter.penalty(module).item() < before


@pytest.mark.parametrize("stop", [0, 3, 20])
def test_what_is_saved_at_any_step_is_restored_exactly(
    stop: int, attach: Any, train: Any, loaded: Any, read: Any, tmp_path: Path
) -> None:
    adapter, backbone, module = attach(AdaLora, steps=20, target_r=1, init_r=5)
    train(adapter, backbone, module, stop, total=20)
    adapter.save(module, tmp_path)
    assert torch.equal(read(backbone, adapter.restore(loaded(), tmp_path)), read(backbone, module))


def test_weights_of_an_earlier_step_are_saved_whole_after_later_ranks_were_cut(
    attach: Any, train: Any, loaded: Any, read: Any, tmp_path: Path
) -> None:
    adapter, backbone, module = attach(AdaLora, steps=20)
    state = train(adapter, backbone, module, 4, total=20)
    best, expected = trainable(module), read(backbone, module)
    train(adapter, backbone, module, 16, state=state)
    module.load_state_dict(best, strict=False)
    adapter.save(module, tmp_path)
    assert torch.equal(read(backbone, adapter.restore(loaded(), tmp_path)), expected)


def test_saving_does_not_disturb_training(attach: Any, train: Any, tmp_path: Path) -> None:
    ends = []
    for saves in (False, True):
        adapter, backbone, module = attach(AdaLora, steps=20)
        state = train(adapter, backbone, module, 15, total=20)
        if saves:
            adapter.save(module, tmp_path)
        train(adapter, backbone, module, 5, state=state)
        ends.append(trainable(module))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_plain_peft_loads_the_folder(model_type: str, attach: Any, train: Any, read: Any, tmp_path: Path) -> None:
    adapter, backbone, module = attach(AdaLora, model_type, steps=20)
    train(adapter, backbone, module, 20)
    adapter.save(module, tmp_path / "adapter")
    plain = tiny_backbone(model_type).load(tiny_catalog(), 0)
    plain.save(plain.module, tmp_path / "checkpoint")
    pooler = {"add_pooling_layer": False} if model_type == "bert" else {}
    base = AutoModel.from_pretrained(tmp_path / "checkpoint", **pooler)
    assert torch.equal(
        read(backbone, PeftModel.from_pretrained(base, str(tmp_path / "adapter"))), read(backbone, module)
    )


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_a_bfloat16_backbone_gets_float32_adapter_weights_and_a_constant_stays_one(
    model_type: str, attach: Any
) -> None:
    _, _, module = attach(AdaLora, model_type, "bfloat16")
    assert {p.dtype for p in module.parameters() if p.requires_grad} == {torch.float32}
    assert not any(p.requires_grad for n, p in module.named_parameters() if "ranknum" in n)
    check_adapter(AdaLora, tiny_backbone(model_type, "bfloat16"))


@pytest.mark.parametrize(("steps", "options"), [(1, {}), (2, {}), (20, {"delta_t": 50}), (4, {"tinit": 0.6})])
def test_a_run_too_short_for_the_schedule_is_refused(steps: int, options: dict[str, Any], attach: Any) -> None:
    with pytest.raises(IncompatibleError, match=f"in a run of {steps} optimizer steps, there is none"):
        attach(AdaLora, steps=steps, **options)


def test_three_steps_are_enough(attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(AdaLora, steps=3)
    train(adapter, backbone, module, 3)
    assert sum(int(v.count_nonzero()) for v in singular_values(module)) == 4 * 4


def test_another_number_of_steps_than_planned_is_refused(attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(AdaLora, steps=20)
    with pytest.raises(IncompatibleError, match="attached for 20 optimizer steps, but the run has 30"):
        train(adapter, backbone, module, 1, total=30)


def test_weights_from_before_the_budget_is_reached_are_reported(attach: Any, caplog: pytest.LogCaptureFixture) -> None:
    adapter, _, module = attach(AdaLora, steps=20)
    (callback,) = adapter.callbacks(module)
    with caplog.at_level(logging.WARNING):
        callback.on_fit_end(TrainState(step=20, total_steps=20))
        callback.on_fit_end(TrainState(step=20, total_steps=20, best_step=14))
    assert not caplog.records
    callback.on_fit_end(TrainState(step=20, total_steps=20, best_step=5))
    assert "those of step 5, before the ranks reached target_r=4 (step 14)" in caplog.text


def test_a_target_without_gradient_is_named(attach: Any, train: Any) -> None:
    adapter, _, module = attach(AdaLora)
    (callback,) = adapter.callbacks(module)
    with pytest.raises(IncompatibleError, match=r"query.lora_A.default' got no gradient"):
        callback.on_optimizer_step(TrainState(step=1, total_steps=10))


@pytest.mark.parametrize(
    "bad",
    [{"target_r": 12}, {"tinit": 0.7, "tfinal": 0.3}, {"tfinal": 0}, {"beta1": 1}, {"delta_t": 0}, {"r": 8}],
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AdaLora.Config.model_validate(bad)


def test_merged_equals_unmerged(attach: Any, train: Any, read: Any) -> None:
    adapter, backbone, module = attach(AdaLora, "gpt2", steps=20)
    train(adapter, backbone, module, 20)
    expected = read(backbone, module)
    merged = adapter.merge(copy.deepcopy(module))
    assert torch.allclose(read(backbone, merged), expected, atol=1e-5)
