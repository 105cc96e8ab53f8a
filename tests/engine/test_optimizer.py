"""The update of each trainable weight: the rate and the decay of its group, AdamW's formula, the schedule."""

import math

import pytest
import torch
from torch import nn

from lorarec.config.recipe import TrainSection
from lorarec.engine.optimizer import build_optimizer, build_schedule
from lorarec_adapters.lora import Lora

RATE, STEPS = 0.01, 10


class Model(nn.Module):
    """Named weights where a RecModel has them: LoRA's factors, a scaling vector, a frozen matrix, a head."""

    def __init__(self, adapter=None):
        super().__init__()
        self.adapter = adapter or Lora(Lora.Config())
        self.network, self.head = nn.Module(), nn.Module()
        self.network.frozen = nn.Parameter(torch.ones(4, 4), requires_grad=False)
        shapes = {"factor_a": (2, 4), "factor_b": (4, 2), "column": (4, 1), "row": (1, 4), "bias": (4,)}
        for name, shape in shapes.items():
            setattr(self.network, name, nn.Parameter(torch.full(shape, 2.0)))
        for name, shape in {"matrix": (3, 4), "norm": (4,), "scale": ()}.items():
            setattr(self.head, name, nn.Parameter(torch.full(shape, 2.0)))


def groups_by_name(model, **train):
    """{name: its group}; no weight may be in two."""
    optimizer = build_optimizer(model, TrainSection(**{"learning_rate": RATE, **train}))
    group_of = {id(weight): group for group in optimizer.param_groups for weight in group["params"]}
    assert len(group_of) == sum(len(group["params"]) for group in optimizer.param_groups)
    return {name: group_of[id(weight)] for name, weight in model.named_parameters() if id(weight) in group_of}


def test_every_weight_that_trains_is_in_a_group_and_no_frozen_one_is():
    model = Model()
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert set(groups_by_name(model)) == trainable == set(dict(model.named_parameters())) - {"network.frozen"}


def test_head_learning_rate_is_that_of_the_head_alone():
    for name, group in groups_by_name(Model(), head_learning_rate=0.5).items():
        assert group["lr"] == (0.5 if name.startswith("head.") else RATE), name


def test_without_head_learning_rate_the_head_trains_at_the_learning_rate():
    assert {group["lr"] for group in groups_by_name(Model()).values()} == {RATE}


def test_the_adapters_scale_multiplies_the_rate_of_the_networks_weights_alone():
    class Scaled(Lora):
        def learning_rate_scale(self, parameter):
            assert parameter in dict(model.network.named_parameters()), "names are those of the attached module"
            return 3.0 if parameter == "factor_b" else 1.0

    model = Model(Scaled(Scaled.Config()))
    rates = {name: group["lr"] for name, group in groups_by_name(model, head_learning_rate=0.5).items()}
    assert {name for name, rate in rates.items() if rate == 3 * RATE} == {"network.factor_b"}
    assert rates["network.factor_a"] == RATE and rates["head.matrix"] == 0.5


def test_lora_plus_lets_the_matrices_b_of_a_real_backbone_learn_faster(tiny_checkpoint):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    model = Model(Lora(Lora.Config(lora_plus_ratio=16)))
    bert = AutoModel.from_pretrained(tiny_checkpoint("bert"))
    model.network = get_peft_model(bert, LoraConfig(target_modules=["query", "value"]))
    rates = {name: group["lr"] for name, group in groups_by_name(model).items() if name.startswith("network.")}
    assert len(rates) == 8
    for name, rate in rates.items():
        assert rate == RATE * (16 if "lora_B" in name else 1), name


def test_decay_is_of_matrices_and_not_of_rows_columns_or_scalars():
    decay = {name: group["weight_decay"] for name, group in groups_by_name(Model(), weight_decay=0.3).items()}
    matrices = {"network.factor_a", "network.factor_b", "head.matrix"}
    assert decay == {name: 0.3 if name in matrices else 0.0 for name in decay}


def test_a_decay_of_zero_is_zero_in_all_groups():
    assert {group["weight_decay"] for group in groups_by_name(Model(), weight_decay=0.0).values()} == {0.0}


def test_steps_are_those_of_adamws_formula_written_out():
    """Loshchilov and Hutter (ICLR 2019): p -= lr * decay * p; p -= lr * m_hat / (sqrt(v_hat) + 1e-8)."""
    model = Model(Lora(Lora.Config(lora_plus_ratio=1)))
    optimizer = build_optimizer(model, TrainSection(learning_rate=RATE, head_learning_rate=0.1, weight_decay=0.3))
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    expected = {name: weight.detach().double() for name, weight in weights.items()}
    first = {name: torch.zeros_like(value) for name, value in expected.items()}
    second = {name: torch.zeros_like(value) for name, value in expected.items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 4):
        for name, weight in weights.items():
            weight.grad = torch.randn(weight.shape, generator=generator)
            gradient = weight.grad.double()
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            rate = 0.1 if name.startswith("head.") else RATE
            decay = 0.3 if name.endswith(("factor_a", "factor_b", "matrix")) else 0.0
            direction = first[name] / (1 - 0.9**step) / ((second[name] / (1 - 0.999**step)).sqrt() + 1e-8)
            expected[name] = expected[name] * (1 - rate * decay) - rate * direction
        optimizer.step()
    for name, weight in weights.items():
        torch.testing.assert_close(weight.detach().double(), expected[name], rtol=1e-5, atol=1e-6, msg=name)


def rising(step, warmup):
    """The share of the learning rate during warm-up: 0 at the first step, 1 at the first one after it."""
    return step / warmup


SCHEDULES = {
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "constant": lambda done: 1.0,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_the_rate_of_each_step_is_the_schedules_share_of_each_groups_rate(schedule, warmup):
    train = TrainSection(learning_rate=RATE, head_learning_rate=0.5, schedule=schedule, warmup=warmup)
    optimizer = build_optimizer(Model(), train)
    scheduler = build_schedule(optimizer, train, STEPS)
    own = [group["initial_lr"] for group in optimizer.param_groups]
    assert set(own) == {RATE, 0.5}
    rises = round(warmup * STEPS)
    for step in range(STEPS):
        done = (step - rises) / (STEPS - rises)
        share = rising(step, rises) if step < rises else SCHEDULES[schedule](done)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([share * rate for rate in own]), step
        assert share > 0 or step == 0, "no step but the first of a warm-up trains nothing"
        optimizer.step()
        scheduler.step()


def test_a_warm_up_starts_at_zero_so_that_its_first_step_moves_no_weight():
    """As transformers' schedules do: the first step fills AdamW's averages alone."""
    train = TrainSection(learning_rate=RATE, warmup=0.3)
    model = Model()
    optimizer = build_optimizer(model, train)
    scheduler = build_schedule(optimizer, train, STEPS)
    moved = []
    for _ in range(2):
        before = [weight.detach().clone() for weight in model.parameters()]
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight) if weight.requires_grad else None
        optimizer.step()
        scheduler.step()
        moved.append([not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)])
    assert not any(moved[0])
    assert moved[1] == [weight.requires_grad for weight in model.parameters()]
