"""Load a finished run, with or without the data that it was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from lorarec.artifact import layout
from lorarec.artifact.build_limit import no_larger_than
from lorarec.artifact.reader import RunFolder, read_run, using
from lorarec.config.document import Document, Location
from lorarec.config.recipe import TrainSection
from lorarec.config.recipe_file import load_recipe
from lorarec.config.strict import StrictConfig
from lorarec.contracts.weight_files import check_finite
from lorarec.data.streams import Purpose, derived_seed
from lorarec.engine.shared_arrays import computed_once
from lorarec.errors import ArtifactError, PluginError, RecipeError
from lorarec.inference.recommender import Recommender
from lorarec.model.rec_model import RecModel, check_compatible, usable_length
from lorarec.pipeline.assemble import RunData, gather_run_data, read_data, request_format
from lorarec.pipeline.build_model import make_accelerator
from lorarec.registry.discover import KINDS, KindName, is_installed
from lorarec.registry.faults import plugin_faults
from lorarec.registry.registry import Registry, loss_settings
from lorarec.registry.resolve import SECTIONS, ResolvedRecipe, resolve


@plugin_faults()
def load(run: str | Path, device: str | torch.device | None = None) -> Recommender:
    """Load a finished run, ready to predict and recommend exactly as after training.

    `device`: where it computes; by default the GPU, if there is one. Raises ArtifactError if the folder is incomplete
    or was changed, or if the backbone has other weights than in training.
    """
    folder = read_run(Path(run))
    with using(folder.path):
        resolved = open_run_recipe(folder)
        with plugin_faults(resolved.plugins()):
            return _assemble_run(folder, resolved, device)


def open_run_recipe(folder: RunFolder) -> ResolvedRecipe:
    """The recipe of a finished run; its backbone uses the run's copy if there is one.

    Raises ArtifactError if another version wrote the recipe and this one cannot read it.
    """
    registry = Registry.discover()
    try:
        resolved = resolve(load_recipe(_with_present_names(folder.recipe(), registry)), registry)
    except (RecipeError, PluginError) as error:
        if missing := _missing_packages(folder, registry):
            raise ArtifactError(
                f"{folder.path}: it was trained with plugins that are not installed here: {'; '.join(missing)}. A "
                "package is code: install one only if you trust who wrote it."
            ) from error
        if isinstance(error, PluginError):
            raise
        raise ArtifactError(
            f"{folder.path}: its recipe is of another version of lorarec or of a plugin, and cannot be read:\n"
            f"{error}\nCorrect the recipe and train it again, or install the versions that environment.json names."
        ) from error
    if folder.backbone is not None:
        resolved.backbone.load_from(folder.backbone)
    elif not resolved.backbone.is_reproducible():
        raise ArtifactError(
            f"{folder.path}: it has no copy of backbone '{resolved.backbone.name}', which it needs ({layout.BACKBONE}/ "
            "is missing). Restore it, or train the run again."
        )
    return resolved


def _missing_packages(folder: RunFolder, registry: Registry) -> list[str]:
    """For each package that environment.json names for a plugin and that is not installed: the plugin, the package, and
    how to install it."""
    recorded = folder.environment.get("plugins")
    missing = []
    for part, provider in recorded.items() if isinstance(recorded, dict) else ():
        kind, _, name = part.partition(" ")
        written = re.fullmatch(r"([A-Za-z0-9._-]{1,100}) ([A-Za-z0-9.+!]{1,100})", str(provider))
        if kind not in KINDS or not written or name in registry.names(kind):
            continue
        package, version = written.groups()
        if not is_installed(package):
            install = registry.how_to_install(name) or f"pip install {package}=={version}"
            missing.append(f"{kind} '{name[:100]}' of {package} {version} ({install.rstrip('.')})")
    return missing


def _with_present_names(recipe: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
    """A run's recipe, with settings that were renamed since under their present names."""
    document = Document({**recipe, "train": _renamed(recipe["train"], TrainSection)}, {}, Location("recipe"))
    for kind, path in SECTIONS.items():
        if (section := document.get(path)) is not None:
            document.put(path, _plugin_with_present_names(section, kind, registry), {})
    source, users = document.get(("data", "source", "name")), document.get(("data", "split", "users"))
    if source in registry.names("source"):  # a column that a source adds has the name of its setting
        present = registry.find("source", source).Config.renamed.get(users, users)
        document.put(("data", "split", "users"), present, {})
    callbacks = [_plugin_with_present_names(entry, "callback", registry) for entry in recipe.get("callbacks", ())]
    return {**document.values, "callbacks": callbacks}


def _plugin_with_present_names(section: Any, kind: KindName, registry: Registry) -> Any:
    """A section that names a plugin, and the losses that its settings name."""
    if not isinstance(section, Mapping) or section.get("name") not in registry.names(kind):
        return section
    plugin = registry.find(kind, section["name"])
    present = _renamed(section, plugin.Config)
    for setting in loss_settings(plugin).keys() & present.keys():
        present[setting] = _plugin_with_present_names(present[setting], "loss", registry)
    return present


def _renamed(settings: Mapping[str, Any], config: type[StrictConfig]) -> dict[str, Any]:
    return {config.renamed.get(name, name): value for name, value in settings.items()}


def _assemble_run(folder: RunFolder, resolved: ResolvedRecipe, device: str | torch.device | None = None) -> Recommender:
    """Rebuild backbone, adapter and head from a run folder."""
    backbone, adapter = resolved.backbone, resolved.adapter
    with no_larger_than(folder.weight_files(), folder.path) if folder.backbone is not None else nullcontext():
        architecture = check_compatible(backbone, adapter, gradient_checkpointing=False)
        backbone.load(folder.catalog, derived_seed(resolved.recipe.seed, Purpose.BACKBONE_WEIGHTS))
    if backbone.fingerprint() != folder.environment.get("backbone_fingerprint"):
        raise ArtifactError(
            f"{folder.path}: backbone '{backbone.name}' has other weights now than when the adapter was trained. "
            "Restore that checkpoint, or train again."
        )
    with no_larger_than(folder.weight_files(), folder.path):
        network = adapter.restore(backbone, folder.adapter)
        head = resolved.head.build(architecture.hidden_size, folder.statistics).float()
    check_finite(network.state_dict(), str(folder.path))
    _load_head(head, folder, resolved.head.name)
    model = RecModel(backbone, adapter, network, head).eval()
    model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Recommender(
        path=folder.path,
        metrics=folder.metrics,
        catalog=folder.catalog,
        statistics=folder.statistics,
        head=resolved.head,
        model=model,
        featurizer=backbone.featurizer(folder.catalog, usable_length(architecture, adapter)),
        seed=resolved.recipe.seed,
        seen=resolved.recipe.evaluate.seen,
        request_format=request_format(resolved, folder.catalog),
        item_vectors=folder.item_vectors,
        calibration=folder.calibration,
    )


def _load_head(head: nn.Module, folder: RunFolder, name: str) -> None:
    """Load the weights of the head. Raises ArtifactError if their names, shapes or types are others."""
    types = {key: weight.dtype for key, weight in head.state_dict().items()}
    other = [key for key, weight in folder.head_weights.items() if types.get(key, weight.dtype) != weight.dtype]
    try:
        if other:
            raise RuntimeError(f"weight '{other[0]}' has type {folder.head_weights[other[0]].dtype}")
        head.load_state_dict(folder.head_weights)
    except RuntimeError as error:
        raise ArtifactError(
            f"{folder.path}: head '{name}' has other weights now than when the run was trained, "
            f"probably by another version. Train again, or install the versions that environment.json names."
        ) from error


@dataclass(frozen=True)
class OpenRun:
    """A finished run with the data it was trained on."""

    run_data: RunData
    recommender: Recommender
    model: nn.Module
    accelerator: Accelerator


@contextmanager
def open_run(folder: RunFolder) -> Iterator[OpenRun]:
    """Load a run and its data. Errors in the block are about the run, or name the plugin to blame. Raises ArtifactError
    if the data or their split have changed since training."""
    with using(folder.path):
        resolved = open_run_recipe(folder)
        with plugin_faults(resolved.plugins()):
            yield _with_data(folder, resolved)


def _with_data(folder: RunFolder, resolved: ResolvedRecipe) -> OpenRun:
    accelerator = make_accelerator(resolved)
    run_data = gather_run_data(resolved, computed_once(accelerator, lambda: read_data(resolved)))
    if run_data.data.report.fingerprint != folder.environment.get("split_fingerprint"):
        raise ArtifactError(
            f"{folder.path}: the data of its recipe, or their split, have changed since it was trained, so its metrics "
            "would not be comparable. Restore the data, or train again."
        )
    recommender = _assemble_run(folder, resolved)
    return OpenRun(
        run_data, recommender, accelerator.prepare_model(recommender.model, evaluation_mode=True), accelerator
    )
