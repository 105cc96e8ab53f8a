"""What the adapters built on PEFT share: wrapping, saving without the hub, restoring strictly, merging."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from lorarec.contracts import Backbone, IncompatibleError


def wrap(module: nn.Module, config: PeftConfig) -> Any:
    """A PeftModel around `module`, everything frozen but the adapter, whose weights are float32 beside any
    base."""
    if isinstance(module, PreTrainedModel):
        config.task_type = TaskType.FEATURE_EXTRACTION
    # Without a task type PEFT hands arguments through as they are, which modules of other libraries need.
    module.requires_grad_(False)
    return get_peft_model(module, config, autocast_adapter_dtype=True)


def save(module: Any, folder: Path) -> None:
    """Write PEFT's own `adapter_config.json` and `adapter_model.safetensors`, which other tools load."""
    # Left at "auto", PEFT asks the hub for the base model's configuration each time.
    module.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # an empty form; the run folder has a model card


def restore(backbone: Backbone, folder: Path) -> Any:
    """The module as saved, for inference. Raises IncompatibleError if the files do not fit this backbone
    exactly."""
    device = str(next(backbone.module.parameters()).device)
    try:
        module = PeftModel.from_pretrained(backbone.module, str(folder), torch_device=device)
    except (ValueError, RuntimeError) as error:
        raise IncompatibleError(f"{folder}: the adapter does not fit this backbone: {error}") from error
    _check_weights(module, folder / SAFETENSORS_WEIGHTS_NAME)
    module.requires_grad_(False)  # PEFT leaves what it casts to float32 trainable
    return module.eval()


def merge(module: Any) -> nn.Module:
    """The base module, in float32, with the adapter added to its weights. Uses up `module`.

    In bfloat16 most of what an adapter adds would be rounded away, so a bfloat16 base comes back in float32.
    """
    with torch.no_grad():
        merged: nn.Module = module.float().merge_and_unload(safe_merge=True)
    return merged.eval()


def _check_weights(module: Any, file: Path) -> None:
    """PEFT only warns of weights that are missing, and passes over those it does not know."""
    expected = set(get_peft_model_state_dict(module, save_embedding_layers=False))
    with safe_open(file, framework="pt") as weights:
        found = set(weights.keys())
    if expected != found:
        raise IncompatibleError(
            f"{file}: holds other weights than the adapter on this backbone has (missing: "
            f"{sorted(expected - found)[:3]}, unknown: {sorted(found - expected)[:3]})."
        )
