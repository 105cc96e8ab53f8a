"""An adapter that trains nothing is refused by name; single weights that nothing depends on are warned of."""

import logging

import pytest
import torch
from accelerate import Accelerator
from torch import nn

import lorarec
from lorarec.contracts import TrainState
from lorarec.engine.dead_weights import STEPS, DeadWeights
from lorarec.errors import TrainingError
from lorarec_adapters.lora import Lora


class Model(nn.Module):
    """Two weights of an adapter and one of a head; the loss depends on those that are named."""

    def __init__(self, *alive):
        super().__init__()
        self.network, self.head = nn.Module(), nn.Module()
        self.network.one, self.network.other = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))
        self.head.weight = nn.Parameter(torch.ones(3))
        self.alive = alive

    def loss(self):
        return sum(weight.sum() * (name in self.alive) for name, weight in self.named_parameters())


def watch(model, steps=STEPS, optimizer_class=torch.optim.AdamW, late=0, early=STEPS):
    """The warnings after so many steps; the loss is 0 up to step `late` and after step `early`."""
    optimizer, warnings = optimizer_class(model.parameters(), lr=0.01), {}
    guard = DeadWeights(model, optimizer, Accelerator(cpu=True), warnings)
    for step in range(1, steps + 1):
        (model.loss() * (late < step <= early)).backward()
        optimizer.step()
        guard.on_optimizer_step(TrainState(step=step))
        optimizer.zero_grad()
    return warnings


def test_an_adapter_none_of_whose_weights_has_had_a_gradient_is_refused_by_name():
    with pytest.raises(TrainingError, match=rf"None of the adapter's 2 weights .* first {STEPS} steps.*'one'"):
        watch(Model("head.weight"))


def test_a_weight_among_others_is_warned_of_by_name(caplog):
    with caplog.at_level(logging.WARNING):
        warnings = watch(Model("head.weight", "network.one"))
    assert list(warnings) == ["weights without gradient"]
    assert "1 of the adapter's 2 weights" in caplog.text and "'other'" in caplog.text


def test_an_adapter_whose_weights_all_have_a_gradient_is_let_be():
    assert watch(Model("network.one", "network.other")) == {}


def test_zeros_in_the_first_steps_alone_are_let_be():
    assert watch(Model("network.one", "network.other"), late=STEPS - 1) == {}


def test_a_weight_that_had_a_gradient_in_one_step_is_let_be():
    assert watch(Model("network.one", "network.other"), early=1) == {}


def test_a_run_of_fewer_steps_is_not_judged():
    assert watch(Model(), steps=STEPS - 1) == {}


def test_a_head_may_have_weights_that_nothing_depends_on_yet():
    """Ids that no batch has had, say."""
    assert watch(Model("network.one", "network.other"), steps=STEPS) == {}


def test_without_averages_of_gradients_to_read_nothing_is_judged():
    assert watch(Model(), optimizer_class=torch.optim.SGD) == {}


def test_what_does_not_train_is_not_looked_for():
    model = Model("head.weight")
    for weight in model.network.parameters():
        weight.requires_grad = False
    assert watch(model) == {}


@pytest.mark.parametrize(("cut", "dead"), [("", 0), ("layer.0.attention.self.query", 2), ("lora_B", 8)])
def test_a_run_is_judged_by_what_its_answers_depend_on(cut, dead, tiny_checkpoint, tmp_path, monkeypatch):
    attach = Lora.attach

    def attach_in_vain(*given, **named):
        """LoRA whose matrices B, where their names have `cut` in them, multiply to 0 whatever they are."""
        module = attach(*given, **named)
        for name, layer in module.named_modules():
            if "lora_B." in name and cut and cut in name:
                layer.register_forward_hook(lambda layer, inputs, output: output * 0)
        return module

    monkeypatch.setattr(Lora, "attach", attach_in_vain)
    recipe = {
        "name": "cut",
        "data": {"source": {"name": "synthetic", "users": 20, "items": 40, "events": 200}},
        "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 16},
        "adapter": "lora",
        "head": "ctr",
        "train": {"epochs": 1, "batch_size": 8, "max_steps": STEPS, "save_every": "never"},
    }
    if dead == 8:
        with pytest.raises(TrainingError, match="None of the adapter's 8 weights"):
            lorarec.train(recipe, output=tmp_path / "run")
        return
    warnings = lorarec.train(recipe, output=tmp_path / "run").metrics["warnings"]
    said = [text for kind, text in warnings.items() if kind == "weights without gradient"]
    assert [text.split(" weights")[0] for text in said] == ["2 of the adapter's 8"] * (dead > 0)
