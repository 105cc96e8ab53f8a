"""Load a finished run."""

from __future__ import annotations

from pathlib import Path

import torch

from lorarec.artifact.reader import RunFolder, read_run
from lorarec.data.streams import Purpose, derived_seed
from lorarec.errors import ArtifactError
from lorarec.inference.recommender import Recommender
from lorarec.model.rec_model import RecModel, check_compatible, usable_length
from lorarec.pipeline.open_recipe import open_run_recipe
from lorarec.registry.resolve import ResolvedRecipe


def load(run: str | Path) -> Recommender:
    """The finished run in a folder, ready to predict and recommend, exactly as it was after training.

    Raises ArtifactError if the folder is not whole, was altered, or stands on another backbone than it was trained on.
    """
    folder = read_run(Path(run))
    resolved = open_run_recipe(folder)
    return assemble_run(folder, resolved)


def assemble_run(folder: RunFolder, resolved: ResolvedRecipe) -> Recommender:
    """Backbone, adapter and head put together again from a run folder."""
    backbone, adapter = resolved.backbone, resolved.adapter
    architecture = check_compatible(backbone, adapter, gradient_checkpointing=False)
    backbone.load(folder.catalog, derived_seed(resolved.recipe.seed, Purpose.BACKBONE_WEIGHTS))
    if backbone.fingerprint() != folder.environment.get("backbone_fingerprint"):
        raise ArtifactError(
            f"{folder.path}: backbone '{backbone.name}' has other weights now than the adapter was trained on. Bring "
            "back the checkpoint it names, or train again."
        )
    network = adapter.restore(backbone, folder.adapter)
    head = resolved.head.build(architecture.hidden_size, folder.statistics)
    try:
        head.load_state_dict(folder.head_weights)
    except RuntimeError as error:
        raise ArtifactError(
            f"{folder.path}: head '{resolved.head.name}' has other weights now than when the run was trained, "
            f"probably by another version. Train again, or install the versions that environment.json names."
        ) from error
    model = RecModel(backbone, adapter, network, head).eval()
    if torch.cuda.is_available():
        model = model.cuda()
    return Recommender(
        path=folder.path,
        metrics=folder.metrics,
        catalog=folder.catalog,
        statistics=folder.statistics,
        head=resolved.head,
        model=model,
        featurizer=backbone.featurizer(folder.catalog, usable_length(architecture, adapter)),
        seed=resolved.recipe.seed,
        item_vectors=folder.item_vectors,
        calibration=folder.calibration,
    )
