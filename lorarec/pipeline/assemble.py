"""Build a recipe's data, examples and metrics, with all the checks that need no weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lorarec.config.recipe_file import load_recipe
from lorarec.contracts import (
    Architecture,
    Backbone,
    Catalog,
    Collation,
    Featurizer,
    NegativeSampler,
    Notes,
    Part,
    TaskHead,
    View,
)
from lorarec.contracts.batch import Examples
from lorarec.contracts.plugin import check_answers
from lorarec.data.audit import Finding, audit, audit_repeated
from lorarec.data.columns import CLICK, RATING
from lorarec.data.file_rows import Rows
from lorarec.data.missing_words import missing_words
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.report import DataReport
from lorarec.errors import DataError, RecipeError
from lorarec.evaluation.metrics import NamedMetric
from lorarec.inference.request_format import RequestFormat
from lorarec.model.rec_model import check_compatible, usable_length
from lorarec.registry.registry import Registry
from lorarec.registry.resolve import ResolvedRecipe, resolve

if TYPE_CHECKING:
    from datasets import Dataset


PARTS = (Part.TRAIN, Part.VALIDATION, Part.TEST)


def open_recipe(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> ResolvedRecipe:
    """Read a recipe (a file, a bundled name or a mapping) and build its plugins. Raises RecipeError listing all its
    mistakes."""
    registry = Registry.discover()
    return resolve(load_recipe(recipe, overrides, registry.recipe_folders), registry)


@dataclass(frozen=True)
class RunData:
    """The parts of a run that need no weights."""

    resolved: ResolvedRecipe
    architecture: Architecture
    data: PreparedData
    featurizer: Featurizer
    examples: dict[Part, Examples]
    metrics: list[NamedMetric]

    @cached_property
    def leaks(self) -> list[Finding]:
        """Findings of the leakage audit in the split data."""
        report = self.data.report
        findings = audit(self.data.interactions, self.data.histories, self.resolved.recipe.data.split)
        return [*findings, *audit_repeated(report.repeated, report.parts, report.seen)]


@dataclass(frozen=True)
class ReadData:
    """What the parts of a run are made of: plain objects and arrays, of which processes of a machine need one copy."""

    architecture: Architecture
    data: PreparedData
    tables: dict[Part, Dataset]
    """Of `TaskHead.examples`."""
    origin: str
    items_origin: str
    """Files or addresses read, for messages."""


def read_data(resolved: ResolvedRecipe) -> ReadData:
    """Check that the parts fit, read the data, and choose the examples. Loads no weights."""
    recipe, head, backbone = resolved.recipe, resolved.head, resolved.backbone
    architecture = check_compatible(backbone, resolved.adapter, recipe.train.gradient_checkpointing)
    raw = resolved.source.load()
    request = Wanted(
        label=label_column(head),
        needs=head.needs(),
        reads_feedback=head.reads_feedback(backbone.reads_feedback),
        item_columns=head.item_columns(),
        user_columns=backbone.user_columns(),
    )
    check_answers(head, "names", needs=request.needs, item_columns=request.item_columns)
    check_answers(backbone, "names", user_columns=request.user_columns)
    check_answers(head, "true or false", reads_feedback=request.reads_feedback)
    data = prepare(raw, request, recipe.data, recipe.seed)
    with _about(raw.origin):
        _check_labels(resolved, data)
        tables = {part: head.examples(data.interactions, data.histories, part) for part in PARTS}
    return ReadData(architecture, data, tables, raw.origin, raw.items_origin or raw.origin)


def gather_run_data(resolved: ResolvedRecipe, read: ReadData | None = None) -> RunData:
    """The parts of a run from its data, which are read if they are not given. Loads no weights."""
    read = read_data(resolved) if read is None else read
    recipe, backbone, data = resolved.recipe, resolved.backbone, read.data
    with _about(read.items_origin):
        featurizer = backbone.featurizer(data.catalog, usable_length(read.architecture, resolved.adapter))
    notes = featurizer.notes() if isinstance(featurizer, Notes) else ()
    data = replace(data, report=replace(data.report, notes=(*notes, *_unknown_items(backbone, data.report))))
    with _about(read.origin):
        examples = {part: _examples(resolved, data, featurizer, part, table) for part, table in read.tables.items()}
    if not len(examples[Part.TRAIN]):
        raise DataError(
            "No training examples are left: no event has what the task needs (for example, a history). See the data "
            "report of `lorarec check`."
        )
    _refuse_unread_users(backbone, examples[Part.TRAIN])
    if recipe.evaluate.patience is not None and not len(examples[Part.VALIDATION]):
        raise RecipeError(
            f"evaluate.patience={recipe.evaluate.patience} waits for a better value on validation, but the "
            "validation part is empty. Set data.split.validation above 0, or leave evaluate.patience out."
        )
    data = replace(data, report=_with_repeated(data.report, examples))
    return RunData(resolved, read.architecture, data, featurizer, examples, named_metrics(resolved, len(data.catalog)))


def _with_repeated(report: DataReport, examples: Mapping[Part, Examples]) -> DataReport:
    """The report with the numbers of held-out targets that their user had before, where items are ranked."""
    repeated = {}
    for part in (Part.VALIDATION, Part.TEST):
        rows = examples[part].predictor.repeated(examples[part])
        if rows is not None and len(rows):
            repeated[part.name.lower()] = int(rows.sum())
    return replace(report, repeated=repeated, seen=examples[Part.TEST].seen)


def _unknown_items(backbone: Backbone, report: DataReport) -> Iterator[str]:
    """Notes of held-out items of which a backbone without texts knows nothing."""
    for part, share in report.cold_items.items():
        if share and not backbone.reads_text:
            yield (
                f"{part}: {share:.1%} of rows have an item without a training event, which backbone '{backbone.name}', "
                "that reads no texts, ranks by chance"
            )


def named_metrics(resolved: ResolvedRecipe, catalog_size: int) -> list[NamedMetric]:
    """The recipe's metrics, ready to compute."""
    return [NamedMetric(each.label, each.cls(each.cls.Config(), each.k, catalog_size)) for each in resolved.metrics]


def label_column(head: TaskHead) -> str | None:
    """The column of the labels; None if the head creates them or has none."""
    label = head.label()
    return label if label in head.needs() else None


def _examples(
    resolved: ResolvedRecipe, data: PreparedData, featurizer: Featurizer, part: Part, table: Dataset
) -> Examples:
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
    examples = Examples(table, resolved.head, collation, recipe.evaluate.seen)
    if part != Part.TRAIN and len(examples):
        _ = examples.items  # draws the negatives, which may be too many: refused now, and not after an epoch
    return examples


@contextmanager
def _about(origin: str) -> Iterator[None]:
    """Add the file names to the DataErrors of plugins, which do not know them."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{origin}: {error}") from error


def request_format(resolved: ResolvedRecipe, catalog: Catalog) -> RequestFormat:
    """How requests may be written: with the names of the recipe's columns, and that of the item table's ids."""
    id_column = None if catalog.declared is None else catalog.declared.id_column
    section = resolved.recipe.data
    missing = missing_words(section, RATING, CLICK)
    return RequestFormat(section.columns, resolved.source.read_options(), id_column, missing)


def _check_labels(resolved: ResolvedRecipe, data: PreparedData) -> None:
    label = label_column(resolved.head)
    if label is not None:
        labels = data.interactions.column(label)
        resolved.head.check_labels(labels, data.interactions.rows_in_files or Rows())


PROBED = 64
"""Examples whose views are looked at."""
PROBES = ("young", "old")
"""Two values of a user column that must give different texts."""


def _refuse_unread_users(backbone: Backbone, examples: Examples) -> None:
    """Raise RecipeError if the backbone's templates name a user column that no view of the head uses."""
    columns = backbone.user_columns()
    if not columns:
        return
    views, plain = [view for view in written_views(examples) if view.user], examples.collation.featurizer
    unread = [name for index, name in enumerate(columns) if not any(_differs(plain, view, index) for view in views)]
    if not unread:
        return
    named = ", ".join(f"{{user.{name}}}" for name in unread)
    raise RecipeError(
        f"backbone.templates name {named}, but head '{examples.head.name}' with these settings reads no text that "
        "contains it (perhaps only single items). Leave it out, or choose a head or setting that reads histories or "
        "pairs as text."
    )


def written_views(examples: Examples) -> list[View]:
    """Views of examples from the first to the last that are no entries of the encoded catalog: histories, pairs.
    A single example would not do: a user's first one has an empty history."""
    recorder = _RecordedViews(examples.collation.featurizer)
    recorded = replace(examples, collation=replace(examples.collation, featurizer=recorder, items_encoded=True))
    recorded.batch(np.unique(np.linspace(0, len(examples) - 1, PROBED, dtype=np.int64)))
    return list(dict.fromkeys(recorder.views))


def _differs(featurizer: Featurizer, view: View, column: int) -> bool:
    """Whether two users who differ only in this column get different features."""
    users = [tuple(value if index == column else "" for index in range(len(view.user))) for value in PROBES]
    one, other = (featurizer([view._replace(user=user)]) for user in users)
    return any(not torch.equal(one[name], other[name]) for name in one)


class _RecordedViews:
    """A featurizer that records the views that it is given."""

    def __init__(self, featurizer: Featurizer) -> None:
        self.featurizer = featurizer
        self.views: list[View] = []

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """The features of the views, which are recorded."""
        self.views += views
        return self.featurizer(views)

    def length(self, view: View) -> int:
        """Length of a view, as of the wrapped featurizer."""
        return self.featurizer.length(view)
