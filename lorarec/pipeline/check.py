"""Check a recipe without training: data, trainable weights, and the cost of a few real steps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from lorarec.config.yaml_text import write_yaml
from lorarec.contracts import Examples, Part, TrainingPlan
from lorarec.data.audit import audit_lines
from lorarec.engine.loader import Loader
from lorarec.engine.optimizer import OptimizerStep
from lorarec.engine.processes import check_processes
from lorarec.model.encoded_catalog import encoded_catalog
from lorarec.model.rec_model import AskedModel, RecModel, encoder_of
from lorarec.model.trainable import WeightCount, count_weights, trainable_names
from lorarec.pipeline.assemble import RunData, gather_run_data, open_recipe
from lorarec.pipeline.build_fit import build_step, training_loader, training_plan
from lorarec.pipeline.build_model import build_model, make_accelerator, warm_start, with_layer_cache
from lorarec.pipeline.train import peak_memory_mib
from lorarec.registry.faults import plugin_faults
from lorarec.registry.resolve import ResolvedRecipe, full_recipe

MEASURED_STEPS = 4
"""Steps timed after a warm-up step."""
GROWING_STEPS = 7
"""Further steps over which memory grows as in the measured ones: the matrix multiplication library caches code for each
new shape, up to a limit. Memory does not grow with constant shapes."""


class Costs(NamedTuple):
    """Measurements of a few real steps and one block of evaluation."""

    seconds_per_step: float
    evaluation_seconds: float
    """Total over the run."""
    peak_memory_mib: float
    zero: list[str]
    """Trainable tensors whose gradient is zero on the first batch: newly initialized low-rank matrices, weights of
    absent ids."""


@dataclass(frozen=True)
class CheckReport:
    """Report of `lorarec check`."""

    recipe: Mapping[str, Any]
    """The recipe with every default."""
    providers: Mapping[str, str]
    """Distribution that provides each part."""
    data: Sequence[str]
    """The data report, line by line, without the notes."""
    notes: Sequence[str]
    """What the backbone says of the items and of its checkpoint."""
    audit: Sequence[str]
    """The leakage audit, line by line."""
    weights: WeightCount
    groups: Mapping[str, int]
    """Trainable weights by part of the model."""
    tensors: Sequence[str]
    """Names of all trainable tensors; each received a gradient."""
    lower_blocks: int
    """Number of frozen lowest blocks whose hidden states of items are cached; 0 if there are none."""
    blocks: int
    """Number of blocks of the backbone."""
    total_steps: int
    costs: Costs

    @property
    def estimated_seconds(self) -> float:
        """Training and evaluation of the whole run."""
        return self.total_steps * self.costs.seconds_per_step + self.costs.evaluation_seconds

    def lines(self) -> list[str]:
        """The report as text."""
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        costs, zero = self.costs, self.costs.zero
        yield "Recipe, with every default:"
        yield from (f"  {line}" for line in write_yaml(dict(self.recipe)).splitlines())
        yield "Parts:"
        yield from (f"  {part}: {provider}" for part, provider in self.providers.items())
        yield "Data:"
        yield from (f"  {line}" for line in self.data)
        yield "Leakage audit:"
        yield from (f"  {line}" for line in self.audit)
        yield f"Trains: {self.weights.trainable:,} of {self.weights.total:,} weights ({self.weights.share:.2%})"
        yield from (f"  {group}: {count:,}" for group, count in self.groups.items())
        yield f"Gradient: reaches all {len(self.tensors)} trainable tensors on one batch" + (
            f"; it is still zero in {len(zero)}, such as {zero[0]} (newly initialized low-rank weights, or ids that "
            "are not in the batch)."
            if zero
            else "."
        )
        if self.lower_blocks:
            yield (
                f"The lowest {self.lower_blocks} of {self.blocks} blocks are frozen: their hidden states of each item "
                "are computed once and cached (train.cache_frozen_layers)."
            )
        seconds = self.estimated_seconds
        time = duration(max(seconds, 1))
        yield (
            f"Estimate: {self.total_steps} steps of {costs.seconds_per_step:.2f} s and "
            f"{costs.evaluation_seconds:.0f} s of evaluation: about {time}. "
            f"Peak memory: about {costs.peak_memory_mib:.0f} MiB."
        )
        yield from (f"Note: {note}" for note in self.notes)


def duration(seconds: float) -> str:
    """A time in the unit that people use for it."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} {'second' if round(seconds) == 1 else 'seconds'}"


@plugin_faults()
def check(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> CheckReport:
    """Do everything of a run except training: a few real steps are taken and discarded, and nothing is written.

    Raises LorarecError for any problem that would stop the run, TrainingError if a weight that should train gets no
    gradient.
    """
    resolved = open_recipe(recipe, overrides)
    with plugin_faults(resolved.plugins()):
        return _check(resolved)


def _check(resolved: ResolvedRecipe) -> CheckReport:
    accelerator = make_accelerator(resolved)
    check_processes(accelerator, resolved.recipe.train.processes)
    run_data = gather_run_data(resolved)
    loader = training_loader(run_data.examples[Part.TRAIN], resolved.recipe)
    plan = training_plan(resolved.recipe, loader.steps_per_epoch)
    model = build_model(run_data, plan)
    warm_start(model, resolved)
    model = model.to(accelerator.device)
    names, weights, groups = trainable_names(model), count_weights(model), _groups(model)
    run_data = with_layer_cache(run_data, model, accelerator)
    cached = run_data.examples[Part.TRAIN].collation.item_states
    costs = _measured(run_data, model, plan, names, accelerator)
    report = run_data.data.report
    return CheckReport(
        recipe=full_recipe(resolved),
        providers={part: str(provider) for part, provider in resolved.providers.items()},
        data=[line for line in report.lines() if line not in report.notes],
        notes=report.notes,
        audit=audit_lines(run_data.leaks),
        weights=weights,
        groups=groups,
        tensors=names,
        lower_blocks=0 if cached is None else cached.blocks,
        blocks=run_data.architecture.layers,
        total_steps=plan.total_steps,
        costs=costs,
    )


def _groups(model: nn.Module) -> dict[str, int]:
    groups: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = name.split(".")[0]
            groups[group] = groups.get(group, 0) + parameter.numel()
    return groups


def _measured(
    run_data: RunData, model: RecModel, plan: TrainingPlan, names: list[str], accelerator: Accelerator
) -> Costs:
    """Take a few steps of the run and evaluate one block. This changes the model's weights."""
    recipe, examples = run_data.resolved.recipe, run_data.examples[Part.TRAIN]
    table_seconds, table = _timed_table(examples, model, accelerator)
    unchanging = table if not model.network_trains else None
    step = build_step(run_data.resolved, model, plan, unchanging, accelerator)
    loader = training_loader(examples if unchanging is None else examples.with_items_encoded(), recipe)
    seconds, growth, zero = _measured_steps(step, model, loader, names)
    every = loader.steps_per_epoch if recipe.evaluate.every == "epoch" else recipe.evaluate.every
    evaluations = -(-plan.total_steps // every)
    evaluation = _evaluation_seconds(run_data, model, table, table_seconds, evaluations)
    growing = min(GROWING_STEPS, max(0, plan.total_steps - MEASURED_STEPS))
    return Costs(seconds, evaluation, peak_memory_mib() + growth * growing, zero)


@torch.no_grad()
def _timed_table(examples: Examples, model: RecModel, accelerator: Accelerator) -> tuple[float, torch.Tensor | None]:
    """Seconds to encode the catalog, and the table; 0 and None if no view is a single item."""
    if not examples.reads_items():
        return 0.0, None
    model.eval()
    started = time.perf_counter()
    table = encoded_catalog(encoder_of(model), examples.collation, accelerator)
    return time.perf_counter() - started, table


def _measured_steps(
    step: OptimizerStep, model: RecModel, loader: Loader, names: list[str]
) -> tuple[float, float, list[str]]:
    """Seconds of an optimizer step, growth of peak memory in each step (MiB), and the trainable tensors whose gradient
    is zero on the first batch."""
    zero: list[str] = []
    spent: list[float] = []
    peaks: list[float] = []
    step.model.train()
    started = time.perf_counter()
    for number, step_batches in enumerate(loader.steps(0)):
        step.gradients(step_batches, step_batches.weight, number)
        if number == 0:
            step.refuse_missing_gradients()
            parameters = dict(model.named_parameters())
            zero = [name for name in names if not bool(parameters[name].grad.any())]  # type: ignore[union-attr]
        step.update()
        step.clear()
        spent.append(time.perf_counter() - started)
        peaks.append(peak_memory_mib())
        started = time.perf_counter()
        if number == MEASURED_STEPS:
            break
    growth = float(np.mean(np.diff(peaks[1:]))) if len(peaks) > 2 else 0.0
    return float(np.median(spent[1:] or spent)), growth, zero


@torch.no_grad()
def _evaluation_seconds(
    run_data: RunData, model: RecModel, table: torch.Tensor | None, table_seconds: float, evaluations: int
) -> float:
    """Seconds of all evaluations of the run, extrapolated from one block of validation."""
    batch_size, times = run_data.resolved.recipe.evaluate.batch_size, evaluations + 1
    validation, test = (len(run_data.examples[part]) for part in (Part.VALIDATION, Part.TEST))
    part = Part.VALIDATION if validation else Part.TEST
    examples = run_data.examples[part]
    if not len(examples):
        return 0.0
    model.eval()
    examples = examples if table is None else examples.with_items_encoded()
    rows = examples.blocks(batch_size)[0]
    metrics = [named.metric for named in run_data.metrics]
    started = time.perf_counter()
    list(examples.predictor.predict(AskedModel(model), examples, [rows], metrics, table))
    per_row = (time.perf_counter() - started) / len(rows)
    fresh = table_seconds if model.network_trains else 0.0
    return float(times * (validation * per_row + fresh) + test * per_row + fresh)
