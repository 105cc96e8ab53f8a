"""Build a run's model: accelerator, backbone, adapter, head, and their initial weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import nn

from lorarec.artifact.reader import RunFolder, read_run, using
from lorarec.contracts import Backbone, Part, TrainingPlan, View
from lorarec.contracts.plugin import check_answers
from lorarec.contracts.weight_files import check_finite
from lorarec.data.streams import Purpose, derived_seed
from lorarec.disk import atomic_write, remove
from lorarec.engine.launcher import check_launcher
from lorarec.engine.layer_cache import cache_layers
from lorarec.engine.sharding import reshard
from lorarec.engine.tracking import check_trackers
from lorarec.errors import IncompatibleError, RecipeError
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import extract, put_back, trainable_names
from lorarec.pipeline.assemble import RunData, written_views
from lorarec.pipeline.stopped_run import differences
from lorarec.registry.resolve import ResolvedRecipe, full_recipe


def make_accelerator(resolved: ResolvedRecipe, folder: str | None = None) -> Accelerator:
    """The accelerator of a recipe: its precision and trackers."""
    train = resolved.recipe.train
    check_trackers(train.trackers)
    check_launcher(train.precision)
    if train.precision == "fp16" and not torch.cuda.is_available():
        raise RecipeError("train.precision=fp16 needs a GPU: on a CPU small gradients would vanish. Use fp32 or bf16.")
    precision = {"fp32": "no"}.get(train.precision, train.precision)
    AcceleratorState._reset_state()  # a process has only one, which would keep an earlier run's precision
    return Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=precision,
        log_with=list(train.trackers) or None,
        project_dir=folder,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def build_model(run_data: RunData, plan: TrainingPlan, copy: Path | None = None) -> RecModel:
    """Load the backbone, attach the adapter, build the head.

    `copy`: the folder to write the unchanged backbone to if it cannot be downloaded again.

    Network and head are initialized with separate seeds, so that runs that differ only in the adapter start from the
    same head.
    """
    _refuse_unread_settings(run_data)
    resolved, seed = run_data.resolved, run_data.resolved.recipe.seed
    backbone, adapter = resolved.backbone, resolved.adapter
    backbone.load(run_data.data.catalog, derived_seed(seed, Purpose.BACKBONE_WEIGHTS))
    check_answers(backbone, "text", fingerprint=backbone.fingerprint())
    check_answers(backbone, "true or false", is_reproducible=backbone.is_reproducible())
    if resolved.recipe.train.gradient_checkpointing:
        _enable_gradient_checkpointing(backbone)
    if copy is not None and not backbone.is_reproducible():
        remove(copy)  # of a run that was stopped
        with atomic_write(copy) as partial:
            backbone.save(backbone.module, partial)
    pretrained = list(backbone.module.parameters())
    set_seed(derived_seed(seed, Purpose.ADAPTER_WEIGHTS))
    network = adapter.attach(backbone, plan)
    set_seed(derived_seed(seed, Purpose.HEAD_WEIGHTS))
    head = resolved.head.build(run_data.architecture.hidden_size, run_data.data.statistics)
    return RecModel(backbone, adapter, network, head, pretrained)


def _refuse_unread_settings(run_data: RunData) -> None:
    """Raise RecipeError for settings of the backbone that do nothing with this head."""
    views = written_views(run_data.examples[Part.TRAIN])
    resolved = run_data.resolved
    if unread := resolved.backbone.unread_settings(views):
        raise RecipeError(
            f"{', '.join(f'backbone.{name}' for name in unread)} would do nothing with head '{resolved.head.name}', "
            f"which with these settings reads {_named(views)}. Leave it out."
        )


def _named(views: Sequence[View]) -> str:
    """What a head reads as texts."""
    kinds = {"histories" if view.candidate is None else "pairs of a history and an item" for view in views}
    return " and ".join(sorted(kinds)) or "single items only"


def whole_copy(model: RecModel, run_data: RunData, plan: TrainingPlan) -> RecModel:
    """A copy of a sharded model on the CPU: built as at the start, with the weights gathered from all processes.

    Called on every process. The head, which is whole, is moved into the copy.
    """
    reshard(model)
    names = trainable_names(model)
    weights, buffers = extract(model, names), dict(model.network.named_buffers())
    copy = build_model(run_data, plan)
    put_back(copy, weights, names, "the sharded model")
    for name, buffer in copy.network.named_buffers():
        buffer.copy_(buffers[name])
    copy.head = model.head.cpu()
    return copy.eval()


def _enable_gradient_checkpointing(backbone: Backbone) -> None:
    """Recompute activations in the backward pass. Raises IncompatibleError if the module cannot."""
    module: nn.Module = backbone.module
    # transformers deprecates the second name, which is the only one in its earlier versions.
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    enable = next((getattr(module, name) for name in names if hasattr(module, name)), None)
    if enable is None or not getattr(module, "supports_gradient_checkpointing", False):
        raise IncompatibleError(
            f"Backbone '{backbone.name}' cannot recompute its activations. Set train.gradient_checkpointing=false."
        )
    enable({"use_reentrant": False})


def warm_start(model: RecModel, resolved: ResolvedRecipe) -> dict[str, str] | None:
    """Load the adapter weights of the run that `train.warm_start` names. Returns their origin, for environment.json.

    None if the recipe names no run. Raises ArtifactError if the run is incomplete, IncompatibleError if its adapter has
    different settings or was trained on different weights of the backbone.
    """
    if resolved.recipe.train.warm_start is None:
        return None
    run = read_run(Path(resolved.recipe.train.warm_start))
    with using(run.path):
        return _started(model, resolved, run)


def _started(model: RecModel, resolved: ResolvedRecipe, run: RunFolder) -> dict[str, str]:
    before = run.recipe()
    now = json.loads(json.dumps(full_recipe(resolved)["adapter"]))
    if changes := list(differences(before["adapter"], now, "adapter")):
        raise IncompatibleError(
            f"train.warm_start: the adapter in {run.path} has different settings:\n  "
            + "\n  ".join(changes)
            + "\nGive the adapter the same settings, or leave train.warm_start out."
        )
    if run.environment.get("backbone_fingerprint") != model.backbone.fingerprint():
        raise IncompatibleError(
            f"train.warm_start: the adapter in {run.path} was trained on different weights of the backbone than those "
            f"of '{model.backbone.name}' here. Use the same backbone, or leave train.warm_start out."
        )
    model.adapter.warm_start(model.network, run.adapter)
    check_finite(model.network.state_dict(), str(run.adapter))
    digest = hashlib.sha256()
    for file in sorted(run.adapter.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return {"run": str(run.path), "adapter_sha256": digest.hexdigest()}


def with_layer_cache(run_data: RunData, model: RecModel, accelerator: Accelerator) -> RunData:
    """The same run_data, with cached hidden states of the items below the lowest trainable block, if any is frozen."""
    examples = run_data.examples[Part.TRAIN]
    if not (run_data.resolved.recipe.train.cache_frozen_layers and examples.reads_items()):
        return run_data
    states = cache_layers(model, examples.collation, accelerator)
    if states is None:
        return run_data
    cached = {
        part: replace(each, collation=replace(each.collation, item_states=states))
        for part, each in run_data.examples.items()
    }
    return replace(run_data, examples=cached)
