"""PeftAdapter: an adapter of any PEFT method, of which the author writes the configuration alone."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from lorarec.contracts.adapter import Adapter, TrainingPlan
from lorarec.contracts.backbone import Backbone
from lorarec.contracts.peft_internals import multiply_in_half_precision
from lorarec.contracts.targets import find_targets
from lorarec.errors import IncompatibleError


class PeftAdapter(Adapter):
    """Attaches, saves, restores and merges what a PEFT configuration describes; subclasses write `peft_config`.

    Where the configuration has `target_modules`, they are made full names of layers: names that match nothing are
    refused, and None stands for the backbone's own default (`Architecture.adaptable`), which knows families that
    PEFT's own tables do not. The base is frozen; adapter weights are float32 beside any base.
    """

    target_kinds: ClassVar[tuple[type[nn.Module], ...]] = ()
    """Types of layers beside linear ones that the method goes on, such as (nn.LayerNorm,)."""

    @abstractmethod
    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        """PEFT's configuration of this method with these settings. `backbone` is loaded; its module is the bare one.

        Raises IncompatibleError if a setting does not fit the backbone.
        """

    def attach(self, backbone: Backbone, plan: TrainingPlan) -> nn.Module:
        """A PeftModel around `backbone.module`, of which only the adapter trains.

        Raises IncompatibleError for targets that match nothing, and for what PEFT refuses.
        """
        module = backbone.module.requires_grad_(False)
        config = self.peft_config(backbone, plan)
        self._name_targets(config, backbone)
        # Without a task type PEFT hands arguments through as they are, which modules of other libraries need.
        config.task_type = TaskType.FEATURE_EXTRACTION if isinstance(module, PreTrainedModel) else None
        try:
            wrapped: nn.Module = get_peft_model(module, config, autocast_adapter_dtype=True)
        except Exception as error:  # methods that do not fit a module fail in whatever way they do
            reason = f"{type(error).__name__}: {error}"
            raise IncompatibleError(f"Adapter '{self.name}' cannot attach to {_called(backbone)}: {reason}") from error
        multiply_in_half_precision(wrapped)
        if not any(weight.requires_grad for weight in wrapped.parameters()):
            raise IncompatibleError(f"Adapter '{self.name}' has no weight that trains on {_called(backbone)}.")
        return wrapped

    def save(self, module: nn.Module, folder: Path) -> None:
        """PEFT's own adapter_config.json and adapter_model.safetensors; `PeftModel.from_pretrained` loads them."""
        peft_model: Any = module
        # Left at "auto", PEFT asks the hub for the base model's configuration each time.
        peft_model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # an empty form; the run folder has a model card

    def restore(self, backbone: Backbone, folder: Path) -> nn.Module:
        """A PeftModel for inference. Raises IncompatibleError if the files do not fit the backbone exactly."""
        device = str(next(backbone.module.parameters()).device)
        try:
            restored: nn.Module = PeftModel.from_pretrained(backbone.module, str(folder), torch_device=device)
        except (ValueError, RuntimeError) as error:
            raise IncompatibleError(f"{folder}: the adapter does not fit this backbone: {error}") from error
        _check_weights(restored, folder / SAFETENSORS_WEIGHTS_NAME)
        multiply_in_half_precision(restored)
        return restored.requires_grad_(False).eval()  # PEFT leaves what it casts to float32 trainable

    def merge(self, module: nn.Module) -> nn.Module:
        """The backbone's module in float32 with the adapter folded into its weights. Uses up `module`.

        In bfloat16 most of what an adapter adds would be rounded away, so a bfloat16 base comes back in float32.
        Raises IncompatibleError for methods that PEFT cannot merge.
        """
        peft_model: Any = module
        if peft_model.active_peft_config.is_prompt_learning:
            raise self._unmergeable("what it adds is more input, not a change of weights")
        try:
            with torch.no_grad():
                merged: nn.Module = peft_model.float().merge_and_unload(safe_merge=True)
        except (AttributeError, NotImplementedError, ValueError) as error:
            raise self._unmergeable(f"PEFT cannot do it ({error})") from error
        return merged.eval()

    def _unmergeable(self, reason: str) -> IncompatibleError:
        return IncompatibleError(
            f"Adapter '{self.name}' cannot be merged: {reason}. Keep the run folder, or train with lora, adalora or "
            "full."
        )

    def _name_targets(self, config: Any, backbone: Backbone) -> None:
        """Full names in place of endings in `config`, each of which must match."""
        if not hasattr(config, "target_modules") or config.is_adaption_prompt:
            return  # whole attention modules, which PEFT finds by itself
        named = config.target_modules
        if isinstance(named, str) and named != "all-linear":
            raise IncompatibleError(
                f"Adapter '{self.name}': target_modules={named!r} is a pattern; give a list of names, or 'all-linear'."
            )
        targets = sorted(named) if isinstance(named, set | tuple) else named
        config.target_modules = set(find_targets(self.name, backbone, targets, kinds=self.target_kinds))


def _called(backbone: Backbone) -> str:
    return f"backbone '{backbone.name}' ({backbone.architecture().model_type})"


def _check_weights(module: Any, file: Path) -> None:
    """PEFT only warns of weights that are missing, and passes over those it does not know."""
    expected = set(get_peft_model_state_dict(module, save_embedding_layers=False))
    with safe_open(file, framework="pt") as weights:
        saved = set(weights.keys())
    if expected != saved:
        raise IncompatibleError(
            f"{file}: holds other weights than the adapter on this backbone has (missing: "
            f"{sorted(expected - saved)[:3]}, unknown: {sorted(saved - expected)[:3]})."
        )
