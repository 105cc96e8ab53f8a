"""Judge a finished run again, on the data of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorarec.artifact import layout
from lorarec.artifact.reader import read_run
from lorarec.contracts import Part
from lorarec.engine.baselines import baseline_metrics
from lorarec.engine.evaluate import evaluate as evaluate_part
from lorarec.engine.evaluate import table_for
from lorarec.errors import ArtifactError
from lorarec.pipeline.assemble import gather_materials, make_accelerator
from lorarec.pipeline.load import assemble_run
from lorarec.pipeline.open_recipe import open_recipe


def evaluate(run: str | Path) -> dict[str, Any]:
    """Metrics of validation and test, and the baselines', computed afresh from the run's weights and its data.

    Raises ArtifactError if the data or their split are not what the run was trained on.
    """
    folder = read_run(Path(run))
    resolved = open_recipe(folder.path / layout.RECIPE)
    if folder.backbone is not None:
        resolved.backbone.use_copy(folder.backbone)
    accelerator = make_accelerator(resolved)
    materials = gather_materials(resolved)
    if materials.data.report.fingerprint != folder.environment["split_fingerprint"]:
        raise ArtifactError(
            f"{folder.path}: the data of its recipe, or their split, have changed since it was trained: its metrics "
            "would not mean the same. Bring the data back, or train again."
        )
    model = accelerator.prepare(assemble_run(folder, resolved).model)
    table = table_for(model, materials.examples[Part.TRAIN], accelerator)
    found: dict[str, Any] = {"baselines": {}}
    for part in (Part.VALIDATION, Part.TEST):
        examples, name = materials.examples[part], part.name.lower()
        batch_size = resolved.recipe.evaluate.batch_size
        found[name] = evaluate_part(model, examples, materials.metrics, accelerator, batch_size, table)
        for baseline, values in baseline_metrics(examples, materials.metrics, materials.data.statistics).items():
            found["baselines"].setdefault(baseline, {})[name] = values
    return found
