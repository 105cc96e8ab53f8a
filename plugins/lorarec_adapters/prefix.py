"""Prefix tuning: trained keys and values before those of the text, in every layer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from peft import PeftConfig, PrefixTuningConfig
from pydantic import Field, model_validator
from torch import nn

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Architecture,
    Backbone,
    IncompatibleError,
    PeftAdapter,
    StrictConfig,
    TrainingPlan,
    hookimpl,
)

FEWEST_LEFT = 8
"""Settings that leave no more positions than this to the text are refused."""
START = 0.02
"""Standard deviation of initial keys and values; with PEFT's 1.0 they dominate the outputs of the pretrained layers."""


class Prefix(PeftAdapter):
    """`tokens` virtual tokens whose keys and values train; the backbone's own weights do not.

    Virtual tokens take up positions of the context, and training needs a backbone that attends to past key-values.
    With `projection` only the resulting keys and values are saved: enough for inference, and what other tools load.
    """

    name = "prefix"
    summary = "trained keys and values before those of the text, in every layer"
    paper = "Li and Liang, Prefix-Tuning: Optimizing Continuous Prompts for Generation, ACL 2021. https://arxiv.org/abs/2101.00190"
    supports_gradient_checkpointing: ClassVar[bool] = False

    class Config(StrictConfig):
        """Settings of prefix tuning."""

        tokens: Annotated[int, Field(ge=1)] = 20
        """Virtual tokens."""
        projection: bool = False
        """Train small embeddings and a two-layer network that computes keys and values from them."""
        projection_hidden: Annotated[int, Field(ge=1)] | None = None
        """Width of that network. Default: the width of the keys."""

        @model_validator(mode="after")
        def _width_needs_projection(self) -> Prefix.Config:
            if self.projection_hidden is not None and not self.projection:
                raise ValueError("projection_hidden does nothing without projection=true")
            return self

    config: Config

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError if the backbone ignores past key-values, or if the context is too short."""
        where = f"backbone '{architecture.backbone}' ({architecture.model_type})"
        if not architecture.takes_past:
            raise IncompatibleError(
                f"Adapter 'prefix' cannot attach to {where}: it takes no past key-values. Use lora, "
                "adalora, full or frozen."
            )
        left = architecture.max_length - self.config.tokens
        if left <= FEWEST_LEFT:
            raise IncompatibleError(
                f"Adapter 'prefix': {self.config.tokens} virtual tokens leave {max(left, 0)} of the "
                f"{architecture.max_length} positions of {where} to the text. Use at most "
                f"{max(architecture.max_length - FEWEST_LEFT - 1, 1)} (adapter.tokens)."
            )

    def reserved_positions(self) -> int:
        """One per virtual token."""
        return self.config.tokens

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        """As many virtual tokens as the recipe says."""
        config = self.config
        return PrefixTuningConfig(
            num_virtual_tokens=config.tokens,
            prefix_projection=config.projection,
            encoder_hidden_size=config.projection_hidden,
        )

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """A PeftModel in which the prefix (or the network that computes it) trains, in float32."""
        wrapped: Any = super().attach(backbone, plan, name)
        if not self.config.projection:
            (encoder,) = wrapped.prompt_encoder.values()
            nn.init.normal_(encoder.embedding.weight, std=START)
        module: nn.Module = wrapped
        return module

    def warm_start(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Raises IncompatibleError with `projection`, whose network is not saved, and if weights differ."""
        if self.config.projection:
            raise IncompatibleError(
                "Adapter 'prefix' cannot start from saved weights with projection=true: only the resulting keys and "
                "values are saved. Set adapter.projection=false, or leave train.warm_start out."
            )
        super().warm_start(module, folder, name)


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """Prefix tuning."""
    return [Prefix]
