"""LoRA: low-rank updates of frozen linear layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from peft import LoraConfig, PeftConfig
from pydantic import Field

from lorarec.contracts import (
    Adapter,
    Architecture,
    Backbone,
    PeftAdapter,
    StrictConfig,
    Targets,
    TrainingPlan,
    check_targets,
    expand_pattern,
    find_targets,
    hookimpl,
)

Rank = Annotated[int, Field(ge=1)]


class Lora(PeftAdapter):
    """W x + (alpha / r) B A x: A and B train, W does not; B starts at zero, so that the untrained model is the frozen
    one."""

    name = "lora"
    summary = "low-rank updates of frozen linear layers"
    paper = "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022. https://arxiv.org/abs/2106.09685"

    class Config(StrictConfig):
        """Settings of LoRA and of its variants rsLoRA, DoRA and LoRA+."""

        r: Rank = 8
        """Rank of the update."""
        alpha: Annotated[float, Field(gt=0)] | None = None
        """The update is scaled by alpha / r (alpha / sqrt(r) with rslora). Default: 2 * r."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Dropout on the adapter's input while training."""
        targets: Targets = None
        """Names of linear layers (or the ends of their dotted names), or "all-linear". Default:
        the backbone's attention projections (`Architecture.adaptable`, which each backbone gives)."""
        layers: Annotated[list[int], Field(min_length=1)] | None = None
        """Numbers of the blocks to adapt: 0 is the lowest, -1 the last. Default: all."""
        rank_pattern: dict[str, Rank] = Field(default_factory=dict)
        """Another rank for the targeted layers whose names end with a key, e.g. {value: 16}; alpha stays the same."""
        init: Literal["default", "gaussian"] = "default"
        """Initialization of A: Kaiming-uniform, or normal. Initializations that change the base weights (PiSSA, OLoRA)
        are not offered: the saved adapter would not fit the original backbone."""
        rslora: bool = False
        """Scale by alpha / sqrt(r), so that high ranks learn as fast as low ones (Kalajdzievski, 2023)."""
        dora: bool = False
        """Train the magnitude of each output separately from its direction (Liu et al., ICML 2024). Slower."""
        lora_plus_ratio: Annotated[float, Field(gt=0)] = 1.0
        """Ratio of the learning rates of B and A; Hayou et al. (LoRA+, ICML 2024) suggest 16."""

    config: Config

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError if no targets are named and the backbone has no default."""
        check_targets(self.name, architecture, self.config.targets)

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        """Raises IncompatibleError for names that match nothing."""
        config = self.config
        targets = find_targets(self.name, backbone, config.targets, config.layers)
        return LoraConfig(
            r=config.r,
            lora_alpha=2 * config.r if config.alpha is None else config.alpha,
            lora_dropout=config.dropout,
            target_modules=targets,
            rank_pattern=expand_pattern(self.name, "rank_pattern", config.rank_pattern, targets),
            init_lora_weights=True if config.init == "default" else config.init,
            use_rslora=config.rslora,
            use_dora=config.dora,
        )

    def learning_rate_scale(self, parameter: str) -> float:
        """LoRA+: B has a higher learning rate."""
        return self.config.lora_plus_ratio if ".lora_B." in parameter else 1.0


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """LoRA."""
    return [Lora]
