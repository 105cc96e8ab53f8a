"""Full fine-tuning: the backbone's own weights train."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Backbone,
    StrictConfig,
    TrainingPlan,
    chosen_blocks,
    hookimpl,
    load_weights,
)

WEIGHTS = "weights.safetensors"


class Full(Adapter):
    """All weights train, or those of some blocks. The module is made float32: AdamW's small steps are
    rounded away in bfloat16 weights (for speed, set train.precision instead, which computes in bfloat16 and
    keeps float32 weights)."""

    name = "full"
    summary = "the backbone's own weights train, all or some blocks"

    class Config(StrictConfig):
        """Which of the backbone's weights train."""

        layers: Annotated[list[int], Field(min_length=1)] | None = None
        """Numbers of the blocks that train: 0 is the lowest, -1 the last. Default: every weight trains."""
        embeddings: bool | None = None
        """Whether embedding tables train. Default: yes, unless `layers` names blocks."""

    config: Config

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """The backbone's own module in float32. Raises IncompatibleError for blocks that do not exist."""
        module = backbone.module.float()
        chosen = self._chosen(backbone)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in chosen)
        return module

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Writes the trained weights only, under their names in the backbone."""
        weights = {name: p.detach().contiguous() for name, p in module.named_parameters() if p.requires_grad}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        """The module with the trained weights. Raises IncompatibleError if a name, shape or type differs."""
        module = self.attach(backbone, TrainingPlan(total_steps=0, epochs=0, seed=0))
        self.warm_start(module, folder)
        return module.eval()

    def warm_start(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Load the saved weights. Raises IncompatibleError if a name, shape or type differs."""
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        weights = load_weights(folder / WEIGHTS, trained)
        with torch.no_grad():
            for parameter, weight in trained.items():
                weight.copy_(weights[parameter])

    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        """The module itself: its weights are the trained ones."""
        return module.eval()

    def _chosen(self, backbone: Backbone) -> set[str]:
        module, layers = backbone.module, self.config.layers
        names = {name for name, _ in module.named_parameters()}
        tables = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
        if layers is not None:
            blocks = tuple(chosen_blocks(self.name, backbone.architecture(), layers))
            chosen = {name for name in names if name.startswith(blocks)}
        else:
            chosen = names
        trains = layers is None if self.config.embeddings is None else self.config.embeddings
        return chosen | (tables & names) if trains else chosen - tables


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """Full fine-tuning."""
    return [Full]
