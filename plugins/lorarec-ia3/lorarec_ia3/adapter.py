"""IA3: factors on keys, values and feed-forward activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from peft import IA3Config, PeftConfig
from pydantic import Field
from torch import nn

from lorarec.contracts import (
    Architecture,
    Backbone,
    Callback,
    IncompatibleError,
    PeftAdapter,
    StrictConfig,
    TrainingPlan,
    TrainState,
    adaptable_layers,
    find_targets,
)

KEY_AND_VALUE = frozenset(
    {*("key", "value"), *("k_lin", "v_lin"), *("key_proj", "value_proj"), *("k_proj", "v_proj"), *("k", "v")}
)
"""Last names of key and value projections: BERT, DistilBERT, DeBERTa, Llama and similar models, MPNet."""
Names = Annotated[list[str], Field(min_length=1)]


class Ia3(PeftAdapter):
    """Key, value and feed-forward activations are multiplied by trained vectors, which start at 1."""

    name = "ia3"
    summary = "trained factors on keys, values and feed-forward activations"
    paper = (
        "Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context "
        "Learning, NeurIPS 2022. https://arxiv.org/abs/2205.05638"
    )

    class Config(StrictConfig):
        """Settings of IA3."""

        attention: Names | None = None
        """Names of linear layers (or the ends of their dotted names) whose outputs are rescaled. Default:
        the key and value projections, detected by their names."""
        feedforward: Names | None = None
        """Names of linear layers whose inputs are rescaled. Default: the backbone's own."""

    config: Config

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError if neither the backbone nor the recipe names feed-forward layers."""
        if self.config.feedforward is None and not architecture.feedforward:
            raise IncompatibleError(
                f"Adapter 'ia3': backbone '{architecture.backbone}' ({architecture.model_type}) names no "
                "feed-forward layers. Name some (adapter.feedforward=[down_proj]), or use lora."
            )

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        """Raises IncompatibleError for names that match no linear layer."""
        wanted = self.config.feedforward or list(backbone.architecture().feedforward)
        feedforward = find_targets(self.name, backbone, wanted, setting="feedforward")
        attention = self.config.attention or self._keys_and_values(backbone)
        attention = find_targets(self.name, backbone, attention, setting="attention")
        return IA3Config(target_modules=[*attention, *feedforward], feedforward_modules=feedforward)

    def callbacks(self, module: nn.Module) -> Sequence[Callback]:
        """The callback that keeps the query's share of fused projections at 1, if there are any."""
        fused = [p for name, p in module.named_parameters() if ".ia3_l." in name and name.split(".")[-3] in FUSED]
        return [QueryFactors(fused)] if fused else []

    def _keys_and_values(self, backbone: Backbone) -> list[str]:
        names = [n for n in adaptable_layers(backbone.module) if n.rpartition(".")[2] in KEY_AND_VALUE | FUSED]
        if not names:
            raise IncompatibleError(
                f"Adapter 'ia3': no key and value projections found in backbone '{backbone.name}' "
                f"({backbone.architecture().model_type}). Name them (adapter.attention=[key,value])."
            )
        return names


FUSED = frozenset({"c_attn", "Wqkv"})
"""Projections to query, key and value, stacked in this order: GPT-2, ModernBERT."""


class QueryFactors(Callback):
    """Resets the query's third of each fused vector to 1 after each optimizer step; has no state."""

    name = "ia3_query_factors"
    summary = "keeps IA3's factors on queries at 1"

    def __init__(self, factors: Sequence[nn.Parameter]) -> None:
        super().__init__(self.Config())
        self._factors = factors

    def on_optimizer_step(self, state: TrainState) -> None:
        """Factors are [3 D, 1]: query, key, value."""
        with torch.no_grad():
            for factor in self._factors:
                factor[: len(factor) // 3] = 1.0
