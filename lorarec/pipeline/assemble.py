"""Assembly: a recipe becomes data, examples and metrics, and all that needs no weights is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.config.recipe_file import load_recipe
from lorarec.contracts import (
    Architecture,
    Backbone,
    Collation,
    Featurizer,
    NegativeSampler,
    Part,
    Remarks,
    TaskHead,
    View,
)
from lorarec.contracts.batch import Examples
from lorarec.data.audit import Finding, audit
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.errors import DataError, RecipeError
from lorarec.evaluation.metrics import NamedMetric
from lorarec.model.rec_model import check_compatible, usable_length
from lorarec.registry.registry import Registry
from lorarec.registry.resolve import ResolvedRecipe, resolve


def open_recipe(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> ResolvedRecipe:
    """A recipe by file, bundled name or mapping, with its plugins built. Raises RecipeError with all its mistakes."""
    registry = Registry.discover()
    return resolve(load_recipe(recipe, overrides, registry.recipe_folders), registry)


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
    _refuse_unread_users(backbone, examples[Part.TRAIN])
    if recipe.evaluate.patience is not None and not len(examples[Part.VALIDATION]):
        raise RecipeError(
            f"evaluate.patience={recipe.evaluate.patience} waits for a better value on validation, but the "
            "validation part is empty. Set data.split.validation above 0, or leave evaluate.patience out."
        )
    return Materials(resolved, architecture, data, featurizer, examples, named_metrics(resolved, len(data.catalog)))


def named_metrics(resolved: ResolvedRecipe, catalog_size: int) -> list[NamedMetric]:
    """The recipe's metrics, ready to compute."""
    return [NamedMetric(each.label, each.cls(each.cls.Config(), each.k, catalog_size)) for each in resolved.metrics]


def label_column(head: TaskHead) -> str | None:
    """The column the labels come from; None where the head makes them, or has none."""
    label = head.label()
    return label if label in head.needs() else None


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


WORDS = ("young", "old")
"""Two users who must be written differently."""


def _refuse_unread_users(backbone: Backbone, examples: Examples) -> None:
    """Raise RecipeError if the backbone reads a column of the users that no view of the head is written with."""
    columns = backbone.user_columns()
    if not columns:
        return
    seen = _SeenViews(examples.collation.featurizer)
    replace(examples, collation=replace(examples.collation, featurizer=seen)).batch(np.zeros(1, np.int64))
    views = [view for view in seen.views if view.user]
    unread = [name for index, name in enumerate(columns) if not any(_differs(seen.featurizer, v, index) for v in views)]
    if not unread:
        return
    named = ", ".join(f"{{user.{name}}}" for name in unread)
    raise RecipeError(
        f"backbone.templates name {named}, but head '{examples.head.name}' with these settings reads no view that is "
        "written with it (perhaps single items alone). Leave it out, or choose a head or setting that reads histories "
        "or pairs as text."
    )


def _differs(featurizer: Featurizer, view: View, column: int) -> bool:
    """Whether the view of a user who differs in this column alone reads otherwise."""
    users = [tuple(word if index == column else "" for index in range(len(view.user))) for word in WORDS]
    one, other = (featurizer([view._replace(user=user)]) for user in users)
    return any(not torch.equal(one[name], other[name]) for name in one)


class _SeenViews:
    """A featurizer that remembers what it is asked to look at."""

    def __init__(self, featurizer: Featurizer) -> None:
        self.featurizer = featurizer
        self.views: list[View] = []

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """The features of the views, which are remembered."""
        self.views += views
        return self.featurizer(views)

    def length(self, view: View) -> int:
        """As the featurizer says."""
        return self.featurizer.length(view)
