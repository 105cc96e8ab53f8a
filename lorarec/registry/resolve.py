"""Resolve: build the plugins that a recipe names; every mistake is reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pydantic import ValidationError

from lorarec.config.document import PLUGIN_SECTIONS, dotted
from lorarec.config.mistakes import Mistake, find_mistakes
from lorarec.config.recipe import Recipe, TrainSection
from lorarec.config.recipe_file import LoadedRecipe
from lorarec.config.yaml_text import KeyPath
from lorarec.contracts.adapter import Adapter
from lorarec.contracts.backbone import Backbone
from lorarec.contracts.loss import Loss, written
from lorarec.contracts.plugin import DataSource, Plugin
from lorarec.contracts.task_head import TaskHead
from lorarec.contracts.training import Callback, TrainingStep
from lorarec.errors import LorarecError, PluginError, RecipeError
from lorarec.registry.discover import KindName, Provider
from lorarec.registry.faults import blamed
from lorarec.registry.registry import Registry, ResolvedMetric, find_loss, loss_settings, resolve_metric

SECTIONS: dict[KindName, KeyPath] = dict(
    zip(("source", "backbone", "adapter", "head", "step"), PLUGIN_SECTIONS, strict=True)
)
"""The sections of a recipe that name a plugin."""


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with its plugins built; no file was read and no weight created."""

    recipe: Recipe
    source: DataSource
    backbone: Backbone
    adapter: Adapter
    head: TaskHead
    step: TrainingStep
    metrics: tuple[ResolvedMetric, ...]
    """The recipe's, or the head's defaults; the first chooses the best checkpoint."""
    callbacks: tuple[Callback, ...]
    providers: Mapping[str, Provider]
    """"adapter lora" -> the distribution that offers it, for every plugin in use."""

    def plugins(self) -> Iterator[Plugin | type[Plugin]]:
        """Every plugin in use: also metrics, which are classes here, and the losses that settings name."""
        built = (self.source, self.backbone, self.adapter, self.head, self.step, *self.callbacks)
        yield from (loss for plugin in built for _, loss in plugin.config if isinstance(loss, Loss))
        yield from built
        yield from (metric.cls for metric in self.metrics)


def resolve(loaded: LoadedRecipe, registry: Registry) -> ResolvedRecipe:
    """Find and build every plugin that the recipe names.

    Raises RecipeError with all mistakes of the recipe and of its plugins' options, each with file and line;
    or PluginError, with file and line as well, if the only mistake is a plugin that is unknown or broken.
    """
    builder = _Builder(loaded, registry)
    built = {kind: builder.build(kind, path) for kind, path in SECTIONS.items()}
    entries = loaded.document.get(("callbacks",))
    count = len(entries) if isinstance(entries, list | tuple) else 0
    callbacks = [builder.build("callback", ("callbacks", index)) for index in range(count)]
    metrics = builder.metrics(cast(TaskHead | None, built["head"]))
    builder.refuse()
    return ResolvedRecipe(
        recipe=loaded.recipe,
        source=cast(DataSource, built["source"]),
        backbone=cast(Backbone, built["backbone"]),
        adapter=cast(Adapter, built["adapter"]),
        head=cast(TaskHead, built["head"]),
        step=cast(TrainingStep, built["step"]),
        metrics=tuple(metrics),
        callbacks=tuple(cast(Callback, callback) for callback in callbacks),
        providers=builder.providers,
    )


def full_recipe(resolved: ResolvedRecipe) -> dict[str, Any]:
    """The recipe with every default of every section and plugin written out; it resolves to the same."""
    values = resolved.recipe.model_dump(mode="json")
    values["data"]["source"] = written(resolved.source)
    values["backbone"] = written(resolved.backbone)
    values["adapter"] = written(resolved.adapter)
    values["head"] = written(resolved.head)
    values["train"]["step"] = written(resolved.step)
    values["callbacks"] = [written(callback) for callback in resolved.callbacks]
    values["evaluate"]["metrics"] = [metric.label for metric in resolved.metrics]
    return values


class _Builder:
    """Builds plugins one by one and collects the mistakes."""

    def __init__(self, loaded: LoadedRecipe, registry: Registry) -> None:
        self.loaded = loaded
        self.registry = registry
        self.mistakes: list[Mistake] = list(loaded.mistakes)
        self.providers: dict[str, Provider] = {}
        self.unknown_plugins = 0

    def build(self, kind: KindName, path: KeyPath) -> Plugin | None:
        """The plugin of one section, or None if it has mistakes, which are recorded."""
        choice = self.loaded.document.get(path)
        if choice is None and kind == "step":
            choice = TrainSection.model_fields["step"].default.name
        if isinstance(choice, str):
            choice = {"name": choice}
        if not isinstance(choice, Mapping) or not isinstance(choice.get("name"), str):
            return None  # the recipe's own mistakes include it already
        name = choice["name"]
        if (cls := self.find(kind, name, path)) is None:
            return None
        options = {key: value for key, value in choice.items() if key != "name"}
        losses = self._losses(cls, options, path)
        return None if losses is None else self._made(kind, cls, {**options, **losses}, path)

    def _losses(self, cls: type[Plugin], options: Mapping[str, Any], path: KeyPath) -> dict[str, Plugin] | None:
        """The losses that settings of a plugin name, by setting; None if they have mistakes, which are recorded."""
        made: dict[str, Plugin | None] = {}
        for setting, (takes, default) in loss_settings(cls).items():
            inside = (*path, setting)
            try:
                loss, given = find_loss(options.get(setting, default), takes, self.registry)
            except PluginError as error:
                self.mistakes.append(Mistake(inside, f"{dotted(inside)}: {error}"))
                made[setting] = None
                continue
            self.providers[f"loss {loss.name}"] = self.registry.provider("loss", loss.name)
            made[setting] = self._made("loss", loss, given, inside)
        built = {setting: loss for setting, loss in made.items() if loss is not None}
        return built if len(built) == len(made) else None

    def _made(self, kind: KindName, cls: type[Plugin], options: dict[str, Any], path: KeyPath) -> Plugin | None:
        """The plugin with its options, or None if they have mistakes, which are recorded."""
        try:
            return cls(cls.Config.model_validate(options))
        except ValidationError as error:
            titled = partial(_titled, section=path, title=f"{kind} '{cls.name}'")
            self.mistakes += find_mistakes(error, cls.Config, options, path, titled)
        except LorarecError as error:
            self.mistakes.append(Mistake(path, f"{kind} '{cls.name}': {error}"))
        except Exception as error:
            if not (fault := blamed(error, [cls])):
                raise
            self.mistakes.append(Mistake(path, str(fault)))
        return None

    def find(self, kind: KindName, name: str, path: KeyPath) -> type[Plugin] | None:
        """The class, whose provider is recorded; or None if there is no such plugin, which is recorded as a mistake."""
        try:
            cls = self.registry.find(kind, name)
        except PluginError as error:
            self.unknown_plugins += 1
            self.mistakes.append(Mistake(path, str(error)))
            return None
        self.providers[f"{kind} {name}"] = self.registry.provider(kind, name)
        return cls

    def metrics(self, head: TaskHead | None) -> list[ResolvedMetric]:
        """The metrics of the recipe, or else the head's defaults."""
        chosen = self.loaded.document.get(("evaluate", "metrics"))
        given = isinstance(chosen, list | tuple) and bool(chosen)
        labels = chosen if given else head.default_metrics if head else ()
        metrics: list[ResolvedMetric] = []
        for index, label in enumerate(labels):
            path: KeyPath = ("evaluate", "metrics", index) if given else ("head",)
            if not isinstance(label, str):
                continue
            try:
                metric, provider = resolve_metric(label, head, self.registry)
            except LorarecError as error:
                self.unknown_plugins += isinstance(error, PluginError)
                self.mistakes.append(Mistake(path, str(error)))
                continue
            if metric.label in [other.label for other in metrics]:
                self.mistakes.append(Mistake(path, f"metric '{label}' is given twice."))
            metrics.append(metric)
            self.providers[f"metric {metric.cls.name}"] = provider
        return metrics

    def refuse(self) -> None:
        """Raise the recorded mistakes, if there are any."""
        problems = self.loaded.problems(self.mistakes)
        if len(problems) == self.unknown_plugins == 1:
            raise PluginError(problems[0])
        if problems:
            raise RecipeError(problems)


def _titled(path: KeyPath, section: KeyPath, title: str) -> str:
    """How a message names a value of a plugin's section: the plugin itself, or its setting by name."""
    inside = path[len(section) :]
    return f"{title}: {dotted(inside)}" if inside else title
