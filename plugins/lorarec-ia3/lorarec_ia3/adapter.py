"""IA3: factors on keys, values and feed-forward activations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from peft import IA3Config, PeftModel, TaskType, get_peft_model
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from lorarec.contracts import (
    Adapter,
    Architecture,
    Backbone,
    Callback,
    IncompatibleError,
    StrictConfig,
    TrainingPlan,
    did_you_mean,
)
from lorarec_ia3.layers import ATTENTION, FUSED, ending_with, linear_layers
from lorarec_ia3.query_factors import QueryFactors

Names = Annotated[list[str], Field(min_length=1)]


class Ia3(Adapter):
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
        the key and value projections, found by the names that architectures give them."""
        feedforward: Names | None = None
        """Names of linear layers whose inputs are rescaled. Default: the backbone's own."""

    config: Config

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError where the backbone names no feed-forward layers and the recipe does not
        either."""
        if self.config.feedforward is None and not architecture.feedforward:
            raise IncompatibleError(
                f"Adapter 'ia3': backbone '{architecture.backbone}' ({architecture.model_type}) names no "
                "feed-forward layers. Name some (adapter.feedforward=[down_proj]), or use lora."
            )

    def attach(self, backbone: Backbone, plan: TrainingPlan) -> nn.Module:
        """A PeftModel; the factors train, in float32. Raises IncompatibleError for names that match no
        linear layer."""
        module, architecture = backbone.module, backbone.architecture()
        attention = self._attention(module, architecture)
        wanted = self.config.feedforward or list(architecture.feedforward)
        feedforward = self._matching("feedforward", wanted, module, architecture)
        config = IA3Config(
            target_modules=[*attention, *feedforward],
            feedforward_modules=feedforward,
            task_type=TaskType.FEATURE_EXTRACTION if isinstance(module, PreTrainedModel) else None,
        )
        module.requires_grad_(False)
        wrapped: nn.Module = get_peft_model(module, config, autocast_adapter_dtype=True)
        return wrapped

    def callbacks(self, module: nn.Module) -> Sequence[Callback]:
        """What holds the query's share of fused projections at 1, where there are any."""
        fused = [p for name, p in module.named_parameters() if ".ia3_l." in name and name.split(".")[-3] in FUSED]
        return [QueryFactors(fused)] if fused else []

    def save(self, module: nn.Module, folder: Path) -> None:
        """PEFT's own files; `PeftModel.from_pretrained` loads them on the original backbone."""
        peft_model: Any = module
        peft_model.save_pretrained(str(folder), save_embedding_layers=False)  # else PEFT asks the hub
        (folder / "README.md").unlink(missing_ok=True)

    def restore(self, backbone: Backbone, folder: Path) -> nn.Module:
        """A PeftModel for inference. Raises IncompatibleError if the files do not fit the backbone."""
        device = str(next(backbone.module.parameters()).device)
        try:
            module: nn.Module = PeftModel.from_pretrained(backbone.module, str(folder), torch_device=device)
        except (ValueError, RuntimeError) as error:
            raise IncompatibleError(f"{folder}: the adapter does not fit this backbone: {error}") from error
        return module.requires_grad_(False).eval()

    def merge(self, module: nn.Module) -> nn.Module:
        """The backbone's module in float32, its weights multiplied by the factors. Uses up `module`."""
        peft_model: Any = module.float()
        with torch.no_grad():
            merged: nn.Module = peft_model.merge_and_unload(safe_merge=True)
        return merged.eval()

    def _attention(self, module: nn.Module, architecture: Architecture) -> list[str]:
        if self.config.attention is not None:
            return self._matching("attention", self.config.attention, module, architecture)
        found = [name for name in linear_layers(module) if name.rpartition(".")[2] in ATTENTION]
        if not found:
            raise IncompatibleError(
                f"Adapter 'ia3': no key and value projections found in backbone '{architecture.backbone}' "
                f"({architecture.model_type}). Name them (adapter.attention=[key,value])."
            )
        return found

    def _matching(self, setting: str, endings: list[str], module: nn.Module, architecture: Architecture) -> list[str]:
        names = linear_layers(module)
        known = sorted({name.rpartition(".")[2] for name in names})
        for ending in endings:
            if not ending_with([ending], names):
                raise IncompatibleError(
                    f"Adapter 'ia3': {setting} '{ending}' matches no linear layer of backbone "
                    f"'{architecture.backbone}' ({architecture.model_type}).{did_you_mean(ending, known)} "
                    f"There are: {', '.join(known)}."
                )
        return ending_with(endings, names)
