"""Any method of PEFT, by its name and with its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Annotated, Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import ConfigDict, Field, model_validator
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Architecture,
    Backbone,
    IncompatibleError,
    PeftAdapter,
    StrictConfig,
    Targets,
    TrainingPlan,
    check_targets,
    chosen_blocks,
    did_you_mean,
    expand_pattern,
    find_targets,
    hookimpl,
)
from lorarec_adapters.peft_methods import METHODS, Method, method_of
from lorarec_adapters.peft_options import (
    check_method,
    check_options,
    config_class,
    fitting_sizes,
    open_methods,
    shape_of,
)

FEWEST_LEFT = 8
"""Settings that leave no more positions than this to the text are refused."""


class Peft(PeftAdapter):
    """Any method of the installed PEFT that has no separate adapter in lorarec.

    Options are those of PEFT, checked against its configuration; those that depend on the backbone are set here. If
    PEFT's default does not fit the backbone's widths, or does not learn, `peft_methods` has another.
    """

    name = "peft"
    summary = "any method of PEFT: adapter={name: peft, method: vera}"
    paper = "Mangrulkar et al., PEFT. https://github.com/huggingface/peft; its documentation has each method's paper"
    target_kinds = (nn.Module,)  # `targets` are checked here, by what the method attaches to

    class Config(StrictConfig):
        """The method, its target layers, and its options by PEFT's names."""

        model_config = ConfigDict(extra="allow")

        method: str = Field(
            json_schema_extra={"enum": list(open_methods())},
            description=f"One of: {', '.join(open_methods())}. Its options are given next to it, by PEFT's names. "
            f"Refused, with the reason: {', '.join(sorted(n for n, m in METHODS.items() if m.refused))}.",
        )
        targets: Targets = None
        """Names of linear layers (of normalization layers, for ln_tuning), or the ends of their dotted names, or
        "all-linear". Default: the backbone's attention projections (every normalization layer)."""
        layers: Annotated[list[int], Field(min_length=1)] | None = None
        """Numbers of the blocks to adapt: 0 is the lowest, -1 the last. Default: all."""

        @property
        def options(self) -> Mapping[str, Any]:
            """The method's own options."""
            return self.model_extra or {}

        @model_validator(mode="after")
        def _known_to_peft(self) -> Peft.Config:
            check_method(self.method)
            check_options(self.method, self.options)
            attaches_to = method_of(self.method).attaches_to
            if attaches_to in ("embedding", "input", "attention") and (self.targets or self.layers):
                given = "targets" if self.targets else "layers"
                raise ValueError(f"method '{self.method}' does not let you choose layers: leave out {given}")
            if attaches_to == "norms" and self.targets == "all-linear":
                raise ValueError(f"method '{self.method}' attaches to normalization layers, not to linear ones")
            return self

    config: Config

    @property
    def method(self) -> Method:
        """lorarec's settings of the method."""
        return method_of(self.config.method)

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError for an architecture that the method does not support, or a missing package."""
        method = self.method
        where = f"backbone '{architecture.backbone}' ({architecture.model_type})"
        if method.needs and find_spec(method.needs) is None:
            package = {"sklearn": "scikit-learn"}.get(method.needs, method.needs)
            raise IncompatibleError(f"{self._called} needs a package: `pip install {package}`.")
        if method.model_types and architecture.model_type not in method.model_types:
            known = ", ".join(sorted(method.model_types))
            raise IncompatibleError(f"{self._called}: PEFT supports it for {known}, not for {where}.")
        if method.attaches_to == "linear":
            check_targets(self.name, architecture, self.config.targets)
        left = architecture.max_length - self.reserved_positions()
        if method.attaches_to == "input" and left <= FEWEST_LEFT:
            raise IncompatibleError(
                f"{self._called}: {self.reserved_positions()} virtual tokens leave {max(left, 0)} of the "
                f"{architecture.max_length} positions of {where} to the text. Use at most "
                f"{max(architecture.max_length - FEWEST_LEFT - 1, 1)} (adapter.num_virtual_tokens)."
            )

    def reserved_positions(self) -> int:
        """One per virtual token before the text."""
        if self.method.attaches_to != "input":
            return 0
        return int({**self.method.defaults, **self.config.options}["num_virtual_tokens"])

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        """The recipe's options, lorarec's defaults, and the options that depend on the backbone."""
        options: dict[str, Any] = {**self.method.defaults, **self.config.options}
        match self.method.attaches_to:
            case "linear":
                options |= self._on_linear(backbone, options)
            case "norms":
                options["target_modules"] = self._norms(backbone)
            case "embedding":
                options["target_modules"] = [_embedding(backbone, self.config.method)[0]]
            case "input":
                _, width = _embedding(backbone, self.config.method)
                layers = backbone.architecture().layers
                options |= {"token_dim": width, "num_layers": layers, "num_attention_heads": 1}
            case "attention":
                options["adapter_layers"] = backbone.architecture().layers
        return config_class(self.config.method)(**options)

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """A PeftModel in which the method's weights train. Raises IncompatibleError if PEFT refuses the backbone, or
        skips a layer."""
        try:
            wrapped = super().attach(backbone, plan, name)
        except IncompatibleError as error:
            raise IncompatibleError(self._by_method(error)) from error
        self._refuse_skipped(wrapped)
        for parameter, weight in wrapped.named_parameters():
            if weight.requires_grad and weight.dtype != torch.float32:
                raise IncompatibleError(
                    f"{self._called} trains '{parameter}' in {weight.dtype}, which rounds "
                    "small steps away. Set backbone.dtype=float32."
                )
        return wrapped

    def learning_rate_scale(self, parameter: str) -> float:
        """The method's factor, the same for all of its weights."""
        return self.method.learning_rate_scale

    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        """The backbone's module in float32 with the adapter merged. Raises IncompatibleError if PEFT cannot do it."""
        try:
            return super().merge(module, name)
        except IncompatibleError as error:
            raise IncompatibleError(self._by_method(error)) from error

    @property
    def _called(self) -> str:
        return f"Adapter 'peft' (method '{self.config.method}')"

    def _by_method(self, error: IncompatibleError) -> str:
        text = str(error)
        return text if self._called in text else text.replace("Adapter 'peft'", self._called, 1)

    def _on_linear(self, backbone: Backbone, options: Mapping[str, Any]) -> dict[str, Any]:
        """Targets by full name, and the options that depend on them."""
        config, module, architecture = self.config, backbone.module, backbone.architecture()
        declared = config_class(config.method).__dataclass_fields__
        wanted = config.targets
        if config.method == "ia3" and wanted is None:
            wanted = [*architecture.adaptable, *architecture.feedforward]
        targets = find_targets(self.name, backbone, wanted, config.layers)
        layers = [module.get_submodule(name) for name in targets]
        fitted: dict[str, Any] = {"target_modules": targets}
        if "fan_in_fan_out" in declared:
            fitted["fan_in_fan_out"] = any(isinstance(layer, Conv1D) for layer in layers)
        if "feedforward_modules" in declared:
            endings = tuple(f".{name}" for name in architecture.feedforward)
            fitted["feedforward_modules"] = [name for name in targets if f".{name}".endswith(endings)]
        shapes = [shape_of(layer) for layer in layers]
        fitted |= fitting_sizes(self._called, self.method, config_class(config.method), shapes, options)
        for option in [name for name in options if name.endswith("_pattern")]:
            fitted[option] = expand_pattern(self.name, option, options[option], targets)
        return fitted

    def _norms(self, backbone: Backbone) -> list[str]:
        """Full names of the targeted normalization layers."""
        module = backbone.module
        names = [name for name, part in module.named_modules() if "norm" in type(part).__name__.lower()]
        if self.config.layers is not None:
            prefixes = tuple(chosen_blocks(self.name, backbone.architecture(), self.config.layers))
            names = [name for name in names if name.startswith(prefixes)]
        wanted = self.config.targets
        if isinstance(wanted, list):
            known = sorted({name.rpartition(".")[2] for name in names})
            for target in wanted:
                if not any(f".{name}".endswith(f".{target}") for name in names):
                    raise IncompatibleError(
                        f"{self._called}: target '{target}' matches no normalization layer of backbone "
                        f"'{backbone.name}'.{did_you_mean(target, known)} There are: {', '.join(known)}."
                    )
            names = [name for name in names if f".{name}".endswith(tuple(f".{target}" for target in wanted))]
        if not names:
            raise IncompatibleError(
                f"{self._called}: there is no normalization layer in backbone "
                f"'{backbone.name}' ({backbone.architecture().model_type})."
            )
        return names

    def _refuse_skipped(self, wrapped: Any) -> None:
        """PEFT's methods skip layers of unknown types, some without a warning."""
        targets = getattr(wrapped.active_peft_config, "target_modules", None)
        if self.method.attaches_to in ("input", "attention") or targets is None:
            return
        for name in sorted(targets):
            layer = wrapped.get_base_model().get_submodule(name)
            if not isinstance(layer, BaseTunerLayer):
                raise IncompatibleError(
                    f"{self._called} skips '{name}' ({type(layer).__name__}). "
                    "Leave it out of adapter.targets, or use lora."
                )


def _embedding(backbone: Backbone, method: str) -> tuple[str, int]:
    """Name and width of the token embedding. Raises IncompatibleError if there is none."""
    module: Any = backbone.module
    if isinstance(module, PreTrainedModel):
        embedding = module.get_input_embeddings()
        for name, part in module.named_modules():
            if part is embedding:
                return name, int(embedding.weight.shape[1])
    raise IncompatibleError(
        f"Adapter 'peft' (method '{method}') needs the token embedding of a transformers model, which backbone "
        f"'{backbone.name}' does not have. Use lora."
    )


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """Every method of PEFT."""
    return [Peft]
