"""What a launcher asks for in the environment: it is used, or it is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from lorarec.errors import RecipeError


def check_launcher(precision: str) -> None:
    """Raise RecipeError where `accelerate launch` asks for what this program would do otherwise, or not at all.

    Accelerate itself ignores FSDP and DeepSpeed on CPUs without a word. `precision`: of the recipe.
    """
    for refusal in _refusals(precision):
        raise RecipeError(f"The launcher asks for {refusal}")


def _refusals(precision: str) -> Iterator[str]:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
        if not re.fullmatch(r"-?[0-9]{1,9}", asked := _asked(name, "0")):
            yield f"{name}={asked}, which is no number. Unset it: accelerate launch and torchrun set it themselves."
    for engine, name in (("DEEPSPEED", "DeepSpeed"), ("MEGATRON_LM", "Megatron-LM"), ("PARALLELISM_CONFIG", "a mesh")):
        if _asked(f"ACCELERATE_USE_{engine}") == "true":
            yield (
                f"{name}, which lorarec cannot train with. FSDP2 shards weights, gradients and the optimizer's state: "
                "recipes/accelerate/fsdp2.yaml."
            )
    if (asked := _asked("ACCELERATE_MIXED_PRECISION", "no")) not in ("no", precision):
        yield f"mixed_precision {asked}, but the recipe's train.precision is {precision}. Set train.precision instead."
    if (asked := _asked("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")) != "1":
        yield f"gradient_accumulation_steps {asked}. Set train.accumulate instead."
    if (asked := _asked("ACCELERATE_DYNAMO_BACKEND", "no")) != "no":
        yield f"dynamo_backend {asked}, which was never run. Leave it out."
    if _asked("ACCELERATE_USE_FSDP") == "true":
        yield from _refusals_of_fsdp(precision)


def _refusals_of_fsdp(precision: str) -> Iterator[str]:
    if _asked("WORLD_SIZE", "1") == "1":
        yield (
            "FSDP, but one process is running: there is nothing to shard its weights over. On CPUs: "
            "ACCELERATE_USE_CPU=true ACCELERATE_USE_FSDP=true FSDP_VERSION=2 torchrun --nproc_per_node 2 ..."
        )
    if _asked("FSDP_VERSION", "1") != "2":
        yield "FSDP without fsdp_version 2 (FSDP_VERSION=2), which alone works. See recipes/accelerate/fsdp2.yaml."
    if precision == "fp16":
        yield "FSDP, which does not work with train.precision=fp16. Use bf16 or fp32."
    unread = {
        "fsdp_activation_checkpointing": "Set train.gradient_checkpointing instead.",
        "fsdp_cpu_ram_efficient_loading": "Set it to false: every process reads the backbone's weights.",
        "fsdp_offload_params": "Set it to false: it was never run.",
        "fsdp_ignored_modules": "Leave it out.",
    }
    for setting, instead in unread.items():
        if _asked(setting.upper(), "false") not in ("false", "0", "no"):
            yield f"{setting}, which lorarec does not use. {instead}"


def _asked(name: str, default: str = "") -> str:
    return os.environ.get(name, default).lower()
