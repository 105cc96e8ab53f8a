"""What a launcher asks for is used or refused, never ignored."""

from __future__ import annotations

import pytest

from lorarec.engine.launcher import check_launcher
from lorarec.errors import RecipeError

FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "WORLD_SIZE": "2"}
REFUSED = [
    ({"LOCAL_RANK": "x"}, "fp32", "LOCAL_RANK=x, which is no number. Unset it"),
    ({"WORLD_SIZE": ""}, "fp32", "WORLD_SIZE=, which is no number"),
    ({"ACCELERATE_USE_DEEPSPEED": "true"}, "fp32", "DeepSpeed, which lorarec cannot train with. FSDP2"),
    ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "fp32", "Megatron-LM, which lorarec cannot train with"),
    ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "fp32", "mixed_precision bf16, but the recipe's train.precision is fp32"),
    ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "fp32", "gradient_accumulation_steps 4. Set train.accumulate"),
    ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "fp32", "dynamo_backend inductor"),
    (FSDP2 | {"WORLD_SIZE": "1"}, "fp32", "FSDP, but one process is running"),
    (FSDP2 | {"FSDP_VERSION": "1"}, "fp32", "FSDP without fsdp_version 2"),
    (FSDP2, "fp16", "FSDP, which does not work with train.precision=fp16"),
    (
        FSDP2 | {"FSDP_ACTIVATION_CHECKPOINTING": "true"},
        "fp32",
        "fsdp_activation_checkpointing, which lorarec does not",
    ),
    (FSDP2 | {"FSDP_CPU_RAM_EFFICIENT_LOADING": "True"}, "fp32", "fsdp_cpu_ram_efficient_loading, which lorarec does"),
]


def launched(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """An environment as a launcher leaves it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("environment", "precision", "message"), REFUSED)
def test_what_would_be_ignored_is_refused(
    environment: dict[str, str], precision: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(monkeypatch, environment)
    with pytest.raises(RecipeError, match=message):
        check_launcher(precision)


@pytest.mark.parametrize(
    "environment", [{}, FSDP2, {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}]
)
def test_what_is_used_is_accepted(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, environment)
    check_launcher("fp32")
