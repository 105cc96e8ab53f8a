"""Assembly: a resolved recipe becomes data, examples and a model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from lorarec.artifact import layout
from lorarec.contracts import (
    Architecture,
    Backbone,
    Collation,
    Featurizer,
    NegativeSampler,
    Part,
    Remarks,
    TaskHead,
    TrainingPlan,
)
from lorarec.contracts.batch import Examples
from lorarec.data.audit import Finding, audit
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.streams import Purpose, derived_seed
from lorarec.engine.layer_cache import cache_layers
from lorarec.errors import DataError, IncompatibleError, RecipeError
from lorarec.evaluation.metrics import NamedMetric
from lorarec.model.item_table import is_sharded
from lorarec.model.rec_model import RecModel, check_compatible, usable_length
from lorarec.pipeline.users_read import refuse_unread_users
from lorarec.registry.resolve import ResolvedRecipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Materials:
    """Everything about a run that needs no weights."""

    resolved: ResolvedRecipe
    architecture: Architecture
    data: PreparedData
    featurizer: Featurizer
    examples: dict[Part, Examples]
    metrics: list[NamedMetric]

    @cached_property
    def leaks(self) -> list[Finding]:
        """What the leakage audit finds in the data as they were split."""
        return audit(self.data.interactions, self.data.histories, self.resolved.recipe.data.split)


def gather_materials(resolved: ResolvedRecipe) -> Materials:
    """Check that the parts fit, read the data, and make the examples. Loads no weights."""
    recipe, head, backbone = resolved.recipe, resolved.head, resolved.backbone
    architecture = check_compatible(backbone, resolved.adapter, recipe.train.gradient_checkpointing)
    length = usable_length(architecture, resolved.adapter)
    raw = resolved.source.load()
    wanted = Wanted(
        label=label_column(head),
        needs=head.needs(),
        reads_feedback=head.reads_feedback(backbone.reads_feedback),
        item_columns=head.item_columns(),
        user_columns=backbone.user_columns(),
    )
    data = prepare(raw, wanted, recipe.data, recipe.seed)
    with _about(raw.origin):
        _check_labels(resolved, data)
    with _about(raw.items_origin or raw.origin):
        featurizer = backbone.featurizer(data.catalog, length)
    if isinstance(featurizer, Remarks):
        data = replace(data, report=replace(data.report, notes=tuple(featurizer.remarks())))
    examples = {part: _examples(resolved, data, featurizer, part) for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)}
    if not len(examples[Part.TRAIN]):
        raise DataError(
            "No training examples are left: no event has what the task needs (a history, say). See the data report of "
            "`lorarec check`."
        )
    refuse_unread_users(backbone, examples[Part.TRAIN])
    if recipe.evaluate.patience is not None and not len(examples[Part.VALIDATION]):
        raise RecipeError(
            f"evaluate.patience={recipe.evaluate.patience} waits for a better value on validation, but the "
            "validation part is empty. Set data.split.validation above 0, or leave evaluate.patience out."
        )
    return Materials(resolved, architecture, data, featurizer, examples, named_metrics(resolved, len(data.catalog)))


def named_metrics(resolved: ResolvedRecipe, catalog_size: int) -> list[NamedMetric]:
    """The recipe's metrics, ready to compute."""
    return [
        NamedMetric(found.label, found.cls(found.cls.Config(), found.k, catalog_size)) for found in resolved.metrics
    ]


def build_model(materials: Materials, plan: TrainingPlan, folder: Path | None = None) -> RecModel:
    """Load the backbone, attach the adapter, build the head.

    `folder`: where to keep a copy of a backbone that cannot be fetched again, before anything changes it.

    Network and head draw from generators of their own, so that runs which differ in the adapter alone start from the
    same head.
    """
    resolved, seed = materials.resolved, materials.resolved.recipe.seed
    backbone, adapter = resolved.backbone, resolved.adapter
    backbone.load(materials.data.catalog, derived_seed(seed, Purpose.BACKBONE_WEIGHTS))
    if resolved.recipe.train.gradient_checkpointing:
        enable_gradient_checkpointing(backbone)
    if folder is not None and not backbone.refetchable():
        backbone.save(backbone.module, folder / layout.BACKBONE)
    set_seed(derived_seed(seed, Purpose.ADAPTER_WEIGHTS))
    network = adapter.attach(backbone, plan)
    set_seed(derived_seed(seed, Purpose.HEAD_WEIGHTS))
    head = materials.resolved.head.build(materials.architecture.hidden_size, materials.data.statistics)
    return RecModel(backbone, adapter, network, head)


def with_layer_cache(materials: Materials, model: RecModel, accelerator: Accelerator) -> Materials:
    """The same examples, items with their hidden states below the lowest block that trains, where one is frozen."""
    examples = materials.examples[Part.TRAIN]
    if not (materials.resolved.recipe.train.cache_frozen_layers and examples.reads_items()):
        return materials
    states = cache_layers(model, examples.collation, accelerator)
    if states is None:
        return materials
    kept = {
        part: replace(found, collation=replace(found.collation, item_states=states))
        for part, found in materials.examples.items()
    }
    return replace(materials, examples=kept)


def enable_gradient_checkpointing(backbone: Backbone) -> None:
    """Recompute activations in the backward pass. Raises IncompatibleError if the module cannot."""
    module: nn.Module = backbone.module
    enable = getattr(module, "gradient_checkpointing_enable", None)
    if enable is None or not getattr(module, "supports_gradient_checkpointing", False):
        raise IncompatibleError(
            f"Backbone '{backbone.name}' cannot recompute its activations. Set train.gradient_checkpointing=false."
        )
    enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def make_accelerator(resolved: ResolvedRecipe, folder: str | None = None) -> Accelerator:
    """The accelerator of a recipe: its precision and trackers."""
    import torch
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    from lorarec.engine.tracking import check_trackers

    train = resolved.recipe.train
    check_trackers(train.trackers)
    if train.precision == "fp16" and not torch.cuda.is_available():
        raise RecipeError("train.precision=fp16 needs a GPU: on a CPU small gradients would vanish. Use fp32 or bf16.")
    precision = {"fp32": "no"}.get(train.precision, train.precision)
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()  # it is one a process, and an earlier run's precision would stay
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=precision,
        log_with=list(train.trackers) or None,
        project_dir=folder,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    if is_sharded(accelerator):
        _log.warning(
            "FSDP and DeepSpeed have not been run with lorarec yet: views are encoded in as many forwards as a batch "
            "has lengths, and sharded weights need equally many on every process. If it hangs or fails, use plain "
            "data parallelism (recipes/accelerate/several_gpus.yaml): adapters train few weights."
        )
    return accelerator


def _examples(resolved: ResolvedRecipe, data: PreparedData, featurizer: Featurizer, part: Part) -> Examples:
    recipe = resolved.recipe
    collation = Collation(
        interactions=data.interactions,
        histories=data.histories,
        featurizer=featurizer,
        negatives=NegativeSampler(recipe.seed, len(data.catalog), data.statistics.item_counts),
        catalog_size=len(data.catalog),
        training=part == Part.TRAIN,
        users=data.users,
        catalog=data.catalog,
    )
    return Examples(resolved.head.examples(data.interactions, data.histories, part), resolved.head, collation)


def label_column(head: TaskHead) -> str | None:
    """The column the labels come from; None where the head makes them, or has none."""
    label = head.label()
    return label if label in head.needs() else None


@contextmanager
def _about(origin: str) -> Iterator[None]:
    """Name the files in what plugins, which do not know them, find wrong with the data."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{origin}: {error}") from error


def _check_labels(resolved: ResolvedRecipe, data: PreparedData) -> None:
    label = label_column(resolved.head)
    if label is not None:
        labels = data.interactions.column(label)
        resolved.head.check_labels(labels, np.arange(1, len(labels) + 1))
