"""The gradients, rates and seeds of a run's optimizer steps, seen by torch's hooks, and the best step of a run."""

import itertools
import json
import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import lorarec
from lorarec.pipeline import train as training
from lorarec.pipeline.build_fit import build_fit

RATE = 0.01


class Steps:
    """A run, and the gradients, the groups' rates and the seed of each of its optimizer steps."""

    def __init__(self, folder):
        self.folder = folder
        self.gradients, self.rates, self.seeds = [], [], []
        self.metrics = {}

    def __call__(self, optimizer, *_):
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.gradients.append(torch.cat([weight.grad.detach().flatten().clone() for weight in weights]))
        self.rates.append({group["lr"] for group in optimizer.param_groups})
        self.seeds.append(torch.initial_seed())

    @property
    def norms(self):
        return [float(gradient.norm()) for gradient in self.gradients]

    def validation(self, metric):
        """{step: value} of each evaluation on validation."""
        lines = [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]
        return {line["step"]: line[f"validation_{metric}"] for line in lines if f"validation_{metric}" in line}


@pytest.fixture(scope="module")
def steps(tiny_checkpoint, tmp_path_factory):
    """steps(train, evaluate, seed) trains a tiny run, once for the same settings."""
    runs = {}

    def run(train=None, evaluate=None, seed=5):
        key = json.dumps([train, evaluate, seed])
        if key in runs:
            return runs[key]
        recipe = {
            "name": "fit",
            "seed": seed,
            "data": {"source": {"name": "synthetic", "users": 20, "items": 40, "events": 200}},
            "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 32},
            "adapter": "lora",
            "head": "ctr",
            "train": {"epochs": 2, "batch_size": 16, "learning_rate": RATE, "save_every": "never", **(train or {})},
            "evaluate": evaluate or {},
        }
        seen = Steps(tmp_path_factory.mktemp("fit") / "run")
        hook = register_optimizer_step_pre_hook(seen)
        try:
            seen.metrics = lorarec.train(recipe, output=seen.folder).metrics
        finally:
            hook.remove()
        assert len(seen.norms) == seen.metrics["steps"]
        runs[key] = seen
        return seen

    return run


def test_gradients_longer_than_max_grad_norm_are_clipped_to_it_in_the_same_direction(steps):
    free, cut = steps({"max_grad_norm": None}), steps({"max_grad_norm": 0.05})
    assert min(free.norms) > 0.05
    assert cut.norms == pytest.approx([0.05] * len(cut.norms), rel=1e-3)
    torch.testing.assert_close(cut.gradients[0], free.gradients[0] * (0.05 / free.norms[0]), rtol=1e-3, atol=1e-7)


def test_shorter_gradients_are_not_changed(steps):
    free, wide = steps({"max_grad_norm": None}), steps({"max_grad_norm": 1e3})
    assert wide.norms == free.norms


def test_without_a_max_grad_norm_no_gradient_is_clipped(steps):
    norms = steps({"max_grad_norm": None}).norms
    assert max(norms) > 1.05, "or the default of 1 would clip nothing either"
    assert max(steps().norms) == pytest.approx(1.0, rel=1e-3)


def test_the_gradient_of_a_step_is_clipped_once_after_its_last_micro_batch(steps):
    accumulated = steps({"max_grad_norm": 0.05, "accumulate": 4, "batch_size": 4})
    whole = steps({"max_grad_norm": 0.05})
    assert accumulated.norms == pytest.approx(whole.norms, rel=1e-3)
    torch.testing.assert_close(accumulated.gradients[0], whole.gradients[0], rtol=1e-3, atol=1e-5)


def test_no_gradient_is_carried_over_to_the_next_step(steps):
    """All rows in each step, and a first step that moves nothing: the second one's gradient is the first one's."""
    run = steps({"max_grad_norm": None, "batch_size": 200, "epochs": 4, "warmup": 0.25})
    assert run.rates[0] == {0.0} and len(run.rates) == 4
    torch.testing.assert_close(run.gradients[1], run.gradients[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_schedule_advances_once_per_optimizer_step(accumulate, steps):
    run = steps({"accumulate": accumulate, "warmup": 0.25})
    total = run.metrics["steps"]
    rises = round(0.25 * total)
    shares = [step / rises if step < rises else (total - step) / (total - rises) for step in range(total)]
    assert rises > 1
    for step, (rates, share) in enumerate(zip(run.rates, shares, strict=True)):
        assert [*rates] == pytest.approx([RATE * share]), step


def test_a_run_limited_by_max_steps_decays_to_zero_within_them(steps):
    run = steps({"max_steps": 4, "warmup": 0.0})
    assert [rate for rates in run.rates for rate in rates] == pytest.approx(
        [RATE * share / 4 for share in (4, 3, 2, 1)]
    )


def test_each_step_has_its_own_seed_which_follows_from_the_runs_seed_and_the_step(steps):
    first, other = steps(), steps(seed=6)
    assert len(set(first.seeds)) == len(first.seeds)
    assert first.seeds == steps({"max_grad_norm": None}).seeds
    assert not set(first.seeds) & set(other.seeds)


@pytest.mark.parametrize(("metric", "best"), [("log_loss", min), ("auc", max)])
def test_the_best_step_is_the_first_with_the_best_value_of_the_first_metric(metric, best, steps):
    run = steps({"learning_rate": 0.3}, {"every": 1, "metrics": [metric]})
    values = run.validation(metric)
    wanted = best(values.values())
    assert run.metrics["best_step"] == next(step for step, value in values.items() if value == wanted)
    assert len(set(values.values())) > 5, "or any step would do"
    assert run.metrics["validation"][metric] == pytest.approx(wanted), "the best step's weights are restored"


@pytest.mark.parametrize(("patience", "stops"), [(1, 2), (2, 5), (3, 9)])
def test_training_stops_after_as_many_evaluations_in_a_row_without_a_better_one_as_patience_says(
    patience, stops, steps, monkeypatch
):
    losses = iter([5, 6, 4, 6, 6, 3, 7, 7, 7, 1, *[9] * 20])

    def build_with_losses(*given):
        """The loop, with given log losses on validation."""
        fit = build_fit(*given)
        validate = fit.validate
        fit.validate = lambda: validate()._replace(metrics={"log_loss": float(next(losses))})
        return fit

    monkeypatch.setattr(training, "build_fit", build_with_losses)
    run = steps({}, {"every": 1, "metrics": ["log_loss"], "patience": patience})
    assert run.metrics["steps"] == stops
    assert run.metrics["best_step"] == {2: 1, 5: 3, 9: 6}[stops]
    assert f"in {patience} evaluations" in run.metrics["stopped_early"]


@pytest.mark.parametrize("step_of_clock", [0.0, -1.0])
def test_a_clock_that_stands_still_or_goes_back_changes_no_result(step_of_clock, steps, monkeypatch):
    before = steps({"epochs": 1, "log_every": 1})
    ticks = itertools.count(5.0, step_of_clock)
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    still = steps({"epochs": 1, "log_every": 2 - int(step_of_clock)})
    lines = [json.loads(line) for line in (still.folder / "history.jsonl").read_text().splitlines()]
    rates = [line["targets_per_second"] for line in lines if "targets_per_second" in line]
    assert rates and all(math.isfinite(rate) and rate > 0 for rate in rates)
    assert still.metrics["test"] == before.metrics["test"]
