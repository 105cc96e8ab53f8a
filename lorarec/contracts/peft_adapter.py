"""PeftAdapter: base class for adapters of PEFT methods; a subclass only defines the PEFT configuration."""

from __future__ import annotations

import copy
import json
import warnings
from abc import abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import (
    PeftConfig,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from torch import nn
from transformers import PreTrainedModel

from lorarec.contracts.adapter import OWN_ADAPTER, Adapter, TrainingPlan
from lorarec.contracts.backbone import Backbone
from lorarec.contracts.peft_internals import peft_name, prepare, switched, user_name, without_adapters
from lorarec.contracts.targets import find_targets
from lorarec.contracts.weight_files import load_weights
from lorarec.errors import IncompatibleError
from lorarec.untrusted import read_json

NOT_COMPARED = {
    *("base_model_name_or_path", "revision", "auto_mapping", "task_type", "peft_version", "inference_mode"),
    *("total_step", "tinit", "tfinal"),
}
"""Entries of adapter_config.json that do not follow from the settings: where the backbone was, and the length of the
run."""


class PeftAdapter(Adapter):
    """Attaches, saves, restores and merges the adapter of a PEFT configuration; subclasses define `peft_config`.

    If the configuration has `target_modules`, they are expanded to full names of layers: names that match nothing are
    refused, and None stands for the backbone's default (`Architecture.adaptable`), which covers families that are not
    in PEFT's tables. The base is frozen; adapter weights are float32 whatever the type of the base.
    """

    target_kinds: ClassVar[tuple[type[nn.Module], ...]] = ()
    """Types of layers that the method can be applied to in addition to linear ones, such as (nn.LayerNorm,)."""

    @abstractmethod
    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        """The PEFT configuration for these settings. `backbone` is loaded; its module has no adapter yet.

        Raises IncompatibleError if a setting does not fit the backbone.
        """

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """A PeftModel around `backbone.module` in which only the adapter trains.

        Raises IncompatibleError for targets that match nothing, and for what PEFT refuses.
        """
        module = backbone.module
        if any(isinstance(part, BaseTunerLayer) for part in module.modules()):
            raise IncompatibleError(
                f"Adapter '{self.name}': {_described(backbone)} already has an adapter. Use `add` for another one."
            )
        module.requires_grad_(False)
        config = self.peft_config(backbone, plan)
        self._name_targets(config, backbone)
        # Without a task type PEFT passes arguments on unchanged, which modules of other libraries need.
        config.task_type = TaskType.FEATURE_EXTRACTION if isinstance(module, PreTrainedModel) else None
        try:
            wrapped = _wrapped(module, config, name)
        except Exception as error:  # methods that do not fit a module fail in many ways
            reason = f"{type(error).__name__}: {error}"
            raise IncompatibleError(
                f"Adapter '{self.name}' cannot attach to {_described(backbone)}: {reason}"
            ) from error
        prepare(wrapped)
        if not any(weight.requires_grad for weight in wrapped.parameters()):
            raise IncompatibleError(f"Adapter '{self.name}' has no weight that trains on {_described(backbone)}.")
        return wrapped

    def warm_start(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Raises IncompatibleError, naming them, if weights are missing, unknown, or of another shape; and for methods
        that save the outputs of their weights instead of the weights."""
        known = self.known(module, name)
        saved = self._load(module, folder, name)
        held = get_peft_model_state_dict(module, adapter_name=known, save_embedding_layers=False)
        if not all(torch.equal(held[key].cpu(), weight.to(held[key].dtype)) for key, weight in saved.items()):
            raise IncompatibleError(
                f"Adapter '{self.name}' cannot start from saved weights: its files contain the outputs of its weights, "
                "not the weights themselves. Leave train.warm_start out."
            )

    def add(self, module: nn.Module, backbone: Backbone, folder: Path, name: str) -> None:
        """Adapters on one backbone must be of the same PEFT method. Raises IncompatibleError if it does not fit."""
        peft_model: Any = module
        if peft_model.active_peft_config.is_adaption_prompt:
            super().add(module, backbone, folder, name)
        if peft_name(name) in peft_model.peft_config:
            raise IncompatibleError(
                f"There already is an adapter '{name}' on {_described(backbone)}. Use another name."
            )
        training, before = module.training, dict(module.named_parameters())
        with self.active(module, user_name(peft_model.active_adapter)):
            try:
                config = self._config(backbone, folder)
                peft_model.add_adapter(peft_name(name), config)
                self._load(module, folder, name)
            except Exception as error:
                if peft_name(name) in peft_model.peft_config:
                    peft_model.delete_adapter(peft_name(name))
                raise IncompatibleError(f"{folder}: cannot be added to {_described(backbone)}: {error}") from error
            finally:
                module.train(training)
        prepare(module)
        for parameter, weight in module.named_parameters():
            if parameter not in before:
                weight.requires_grad_(False)

    def active(self, module: nn.Module, name: str = OWN_ADAPTER) -> AbstractContextManager[None]:
        """Raises IncompatibleError for a name that no adapter on `module` has."""
        return switched(module, self.known(module, name))

    def disabled(self, module: nn.Module) -> AbstractContextManager[None]:
        """All adapters are disabled, so that only the base weights are used."""
        return switched(module, None)

    def known(self, module: Any, name: str) -> str:
        """PEFT's name of the adapter `name`. Raises IncompatibleError if `module` has none of that name."""
        if peft_name(name) not in module.peft_config:
            names = ", ".join(f"'{user_name(other)}'" for other in module.peft_config)
            raise IncompatibleError(f"There is no adapter '{name}' on this backbone. There are: {names}.")
        return peft_name(name)

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Writes PEFT's adapter_config.json and adapter_model.safetensors; `PeftModel.from_pretrained` loads them."""
        peft_model: Any = module
        known = self.known(module, name)
        # With the default "auto", PEFT requests the base model's configuration from the hub each time.
        peft_model.save_pretrained(str(folder), selected_adapters=[known], save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # an empty template; the run folder has a model card
        if (inner := folder / known).is_dir():  # PEFT uses a subfolder for all adapters but the one of its default name
            for file in inner.iterdir():
                file.rename(folder / file.name)
            inner.rmdir()

    def restore(self, backbone: Backbone, folder: Path, name: str = OWN_ADAPTER) -> nn.Module:
        """A PeftModel for inference. Raises IncompatibleError if the files do not fit the backbone exactly."""
        module = backbone.module
        config = self._config(backbone, folder)
        try:
            restored = _wrapped(module, config, name)
        except Exception as error:
            raise IncompatibleError(f"{folder}: the adapter does not fit this backbone: {error}") from error
        self._load(restored, folder, name)
        prepare(restored)
        return restored.requires_grad_(False).eval()  # PEFT leaves weights that it casts to float32 trainable

    def merge(self, module: nn.Module, name: str = OWN_ADAPTER) -> nn.Module:
        """The backbone's module in float32 with the adapter merged into its weights. Modifies `module`.

        In bfloat16 most of the adapter's update would be rounded away, so a bfloat16 base is returned in float32.
        Raises IncompatibleError for methods that PEFT cannot merge.
        """
        peft_model: Any = module
        known = self.known(module, name)
        if peft_model.peft_config[known].is_prompt_learning:
            raise self._unmergeable("it adds inputs and does not change weights")
        try:
            with torch.no_grad():
                merged: nn.Module = peft_model.float().merge_and_unload(safe_merge=True, adapter_names=[known])
        except (AttributeError, NotImplementedError, ValueError) as error:
            raise self._unmergeable(f"PEFT cannot do it ({error})") from error
        return merged.eval()

    def _config(self, backbone: Backbone, folder: Path) -> PeftConfig:
        """The configuration of a saved adapter, made from the settings: that in the file, which a stranger may have
        written, is only compared with it (by `_load`). The number of a schedule's steps alone is the file's."""
        steps = _saved_config(folder).get("total_step")
        plan = TrainingPlan(total_steps=steps if type(steps) is int else 1, epochs=1, seed=0)
        bare = copy.copy(backbone)
        bare.module = without_adapters(backbone.module)
        config = self.peft_config(bare, plan)
        self._name_targets(config, bare)
        config.task_type = TaskType.FEATURE_EXTRACTION if isinstance(bare.module, PreTrainedModel) else None
        config.inference_mode = True
        return config

    def _load(self, module: Any, folder: Path, name: str) -> dict[str, torch.Tensor]:
        """Load the saved weights into the attached adapter `name`, and return them. Raises IncompatibleError, naming
        them, if settings, names, shapes or types differ."""
        known = peft_name(name)
        saved, here = _saved_config(folder), json.loads(json.dumps(module.peft_config[known].to_dict(), default=sorted))
        for key in sorted((saved.keys() & here.keys()) - NOT_COMPARED):
            if _ordered(saved[key]) != _ordered(here[key]):
                raise IncompatibleError(
                    f"{folder / CONFIG_NAME}: {key} is {saved[key]!r:.60}, but adapter '{self.name}' here has "
                    f"{here[key]!r:.60}. Restore the file, or train again."
                )
        wanted = get_peft_model_state_dict(module, adapter_name=known, save_embedding_layers=False)
        weights = load_weights(folder / SAFETENSORS_WEIGHTS_NAME, wanted)
        set_peft_model_state_dict(module, dict(weights), adapter_name=known)
        return weights

    def _unmergeable(self, reason: str) -> IncompatibleError:
        return IncompatibleError(
            f"Adapter '{self.name}' cannot be merged: {reason}. Keep the run folder, or train with lora, adalora or "
            "full."
        )

    def _name_targets(self, config: Any, backbone: Backbone) -> None:
        """Replace the endings of names in `config` by full names; each must match."""
        if not hasattr(config, "target_modules") or config.is_adaption_prompt:
            return  # whole attention modules, which PEFT looks up itself
        named = config.target_modules
        if isinstance(named, str) and named != "all-linear":
            raise IncompatibleError(
                f"Adapter '{self.name}': target_modules={named!r} is a pattern; give a list of names, or 'all-linear'."
            )
        targets = sorted(named) if isinstance(named, set | tuple) else named
        config.target_modules = set(find_targets(self.name, backbone, targets, kinds=self.target_kinds))


def _wrapped(module: nn.Module, config: PeftConfig, name: str) -> nn.Module:
    with warnings.catch_warnings():  # PEFT asks transformers' modules by a name that these deprecate
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        wrapped: nn.Module = get_peft_model(module, config, peft_name(name), autocast_adapter_dtype=True)
    return wrapped


def _described(backbone: Backbone) -> str:
    return f"backbone '{backbone.name}' ({backbone.architecture().model_type})"


def _saved_config(folder: Path) -> dict[str, Any]:
    try:
        saved = read_json(folder / CONFIG_NAME)
    except (ValueError, OSError) as error:
        raise IncompatibleError(f"{folder / CONFIG_NAME}: cannot be read ({error}). Train the run again.") from error
    if not isinstance(saved, dict):
        raise IncompatibleError(f"{folder / CONFIG_NAME}: holds no settings. Train the run again.")
    return saved


def _ordered(value: Any) -> Any:
    """Names without their order: PEFT writes sets."""
    return sorted(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else value
