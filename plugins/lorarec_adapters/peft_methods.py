"""lorarec's settings of PEFT methods: initial values, sizes and learning rates that work, and why some are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

AttachesTo = Literal["linear", "norms", "embedding", "input", "attention"]
"""What a method attaches to: linear layers, normalization layers, the token embedding, the positions before the text,
or whole attention modules that PEFT looks up itself."""
Side = Literal["inputs", "outputs", "both"]
Shapes = Sequence[tuple[int, int]]
"""(inputs, outputs) of each targeted layer."""


@dataclass(frozen=True)
class Method:
    """One method: how its settings differ from PEFT's configuration."""

    refused: str = ""
    """Why it cannot be used; no other field is set then."""
    attaches_to: AttachesTo = "linear"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Options with another default than PEFT's."""
    required: tuple[str, ...] = ()
    """Options that a recipe must set."""
    divides: Mapping[str, Side] = field(default_factory=dict)
    """Options that must divide widths of the targeted layers. Default: the largest divisor up to PEFT's default."""
    by_width: Mapping[str, Callable[[Any, Shapes], Any]] = field(default_factory=dict)
    """Options whose default is computed from PEFT's default and the targeted layers' shapes."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """PEFT options that a recipe may not set, with the reason."""
    learning_rate_scale: float = 1.0
    """Factor on the recipe's learning rate, so that learning rates for LoRA also work for this method."""
    needs: str = ""
    """The import name of a package that PEFT needs for it in addition to its requirements."""
    model_types: frozenset[str] = frozenset()
    """Architectures for which PEFT supports it; empty: any."""


SET_HERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("target_modules", "exclude_modules", "target_parameters", "feedforward_modules"),
        "name layers by 'targets', each of which must match",
    ),
    **dict.fromkeys(("layers_to_transform", "layers_pattern"), "number blocks by 'layers'"),
    **dict.fromkeys(
        ("peft_type", "task_type", "auto_mapping", "peft_version", "inference_mode"), "it follows from 'method'"
    ),
    **dict.fromkeys(
        ("base_model_name_or_path", "revision", "fan_in_fan_out", "token_dim", "num_layers", "num_attention_heads"),
        "it follows from the backbone",
    ),
    "num_transformer_submodules": "it follows from the backbone",
    **dict.fromkeys(
        ("bias", "modules_to_save", "trainable_token_indices", "ensure_weight_tying"),
        "it would train weights of the backbone itself, which cannot be disabled; use adapter 'full'",
    ),
    **dict.fromkeys(("progressbar", "runtime_offload_base_weight"), "it is not part of the model"),
}
"""PEFT options that a recipe cannot set for any method, with what to do instead."""

_OF_LOSS = "PEFT adds its loss to a language model's loss, which backbones of lorarec do not have"
_BY_INPUT = "it needs a task number with every text"
_TEXT_START = "the text would be read with a separate tokenizer; 'SAMPLE_VOCAB' starts from words of the backbone"
_ASA = "it belongs to use_asa, which moves ranks after each step, as adapter 'adalora' does"


def _within_size(default: int, shapes: Shapes) -> int:
    """At most as many numbers as a weight has entries."""
    return min([default, *(inputs * outputs for inputs, outputs in shapes)])


def _within_inputs(default: int, shapes: Shapes) -> int:
    return min([default, *(inputs for inputs, _ in shapes)])


def _within_width(default: int, shapes: Shapes) -> int:
    return min([default, *(min(shape) for shape in shapes)])


def _within_budget(default: int, shapes: Shapes) -> int:
    """As many numbers as LoRA of rank `r`, and at most as many as a weight has entries."""
    return min([default, *(inputs * outputs // (inputs + outputs) for inputs, outputs in shapes)])


def _per_weight(default: float, shapes: Shapes) -> float:
    """PEFT's default is for 768 by 768; the inverse transform divides by a weight's number of entries."""
    return default * min(inputs * outputs for inputs, outputs in shapes) / 768**2


METHODS: Mapping[str, Method] = {
    "lora": Method(
        withheld={
            "init_lora_weights": "most values change the backbone; adapter 'lora' has those that do not, as 'init'",
            "layer_replication": "it changes the backbone",
            "alora_invocation_tokens": "it needs tokens of texts, which adapters of lorarec do not get",
            **dict.fromkeys(
                ("use_qalora", "qalora_group_size", "megatron_config", "megatron_core"),
                "backbones of lorarec are neither quantized nor split",
            ),
        }
    ),
    "adalora": Method(refused="use the adapter 'adalora', which moves the ranks after each step"),
    "prefix_tuning": Method(
        refused="use the adapter 'prefix', whose small initial values preserve what the backbone has learned"
    ),
    "cartridge": Method(
        refused="it is prefix tuning that is initialized with a language model's cache of one long text; use the "
        "adapter 'prefix'"
    ),
    "cpt": Method(refused=f"it is made for prompts of causal language models: {_OF_LOSS}"),
    "multitask_prompt_tuning": Method(refused=_BY_INPUT),
    "poly": Method(refused=_BY_INPUT),
    "shadow": Method(refused=f"its second network has parts that only an auxiliary loss trains, and {_OF_LOSS}"),
    "xlora": Method(refused="it mixes LoRA adapters that are already trained"),
    "adaption_prompt": Method(
        attaches_to="attention",
        defaults={"adapter_len": 10},
        withheld={"adapter_layers": "all blocks are adapted"},
        learning_rate_scale=5,
        model_types=frozenset({"llama", "mistral", "gpt2"}),
    ),
    "adamss": Method(
        withheld=dict.fromkeys(
            (
                *("use_asa", "asa_target_subspaces", "asa_importance_beta", "asa_uncertainty_beta"),
                *("asa_schedule_exponent", "init_warmup", "final_warmup", "mask_interval"),
            ),
            _ASA,
        ),
        learning_rate_scale=10,
        needs="sklearn",
    ),
    "beft": Method(learning_rate_scale=10),
    "frod": Method(defaults={"progressbar": False}, learning_rate_scale=5),
    "boft": Method(
        divides={"boft_block_size": "inputs"},
        withheld={"boft_n_butterfly_factor": "without a CUDA extension that PEFT compiles, it does nothing"},
        learning_rate_scale=5,
    ),
    "c3a": Method(divides={"block_size": "both"}, defaults={"init_weights": True}, learning_rate_scale=100),
    "fourierft": Method(
        defaults={"init_weights": True},
        by_width={"n_frequency": _within_size, "scaling": _per_weight},
        learning_rate_scale=100,
    ),
    "gralora": Method(divides={"gralora_k": "both"}),
    "hira": Method(learning_rate_scale=10),
    "hra": Method(learning_rate_scale=5),
    "ia3": Method(learning_rate_scale=10),
    "ln_tuning": Method(attaches_to="norms"),
    "loha": Method(learning_rate_scale=5),
    "lokr": Method(learning_rate_scale=10),
    "miss": Method(by_width={"r": _within_inputs}),
    "oft": Method(divides={"oft_block_size": "inputs", "r": "inputs"}),
    "p_tuning": Method(
        attaches_to="input",
        defaults={"num_virtual_tokens": 20},
        withheld=dict.fromkeys(
            ("encoder_reparameterization_type", "encoder_num_layers", "encoder_dropout"),
            "the network that computes the prompt is the one that PEFT recommends",
        ),
    ),
    "prompt_tuning": Method(
        attaches_to="input",
        defaults={"num_virtual_tokens": 20, "prompt_tuning_init": "SAMPLE_VOCAB"},
        withheld=dict.fromkeys(("prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"), _TEXT_START),
    ),
    "psoft": Method(by_width={"r": _within_width}, learning_rate_scale=5),
    "pvera": Method(
        withheld=dict.fromkeys(("sample_at_inference", "generator_seed"), "answers would be random"),
        learning_rate_scale=30,
    ),
    "randlora": Method(defaults={"save_projection": False}),
    "road": Method(divides={"group_size": "outputs"}, learning_rate_scale=20),
    "shira": Method(by_width={"r": _within_budget}),
    "supertuning": Method(learning_rate_scale=20),
    "tinylora": Method(defaults={"r": 8}, learning_rate_scale=10),
    "trainable_tokens": Method(attaches_to="embedding", required=("token_indices",)),
    "unilora": Method(learning_rate_scale=50),
    "vblora": Method(
        divides={"vector_length": "both"},
        withheld={"save_only_topk_weights": "training cannot continue from what it saves"},
    ),
    "vera": Method(learning_rate_scale=30),
    "waveft": Method(by_width={"n_frequency": _within_size}),
}


def method_of(name: str) -> Method:
    """lorarec's settings of the method of that name; the defaults if there are none."""
    return METHODS.get(name, Method())
