"""Build limit: modules that a run's recipe or configuration describes may not be larger than its weight files."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.modules import module as torch_module

from lorarec.contracts.weight_files import weight_sizes
from lorarec.errors import ArtifactError

TIMES, MORE_WEIGHTS, MORE_NUMBERS = 8, 1_000, 2**26
"""How many times the weights of the files may be built (a meta module, the module itself, its adapter), and how many
weights and numbers in addition, for what is not saved."""
MODULES_PER_WEIGHT = 16


@contextmanager
def no_larger_than(files: Iterable[Path], run: Path) -> Iterator[None]:
    """Raise ArtifactError as soon as this thread builds more weights, numbers or modules than `files` can fill.

    Weights are counted when a module registers them, before they are initialized, so that neither time nor memory is
    spent on a size that a forged configuration claims.
    """
    sizes, thread, built = weight_sizes(files), threading.get_ident(), {"weights": 0, "numbers": 0, "modules": 0}
    most = {"weights": TIMES * len(sizes) + MORE_WEIGHTS, "numbers": TIMES * sum(sizes) + MORE_NUMBERS}
    most["modules"] = MODULES_PER_WEIGHT * most["weights"]

    def count(kind: str, number: int) -> None:
        built[kind] += number
        if built[kind] > most[kind]:
            raise ArtifactError(
                f"{run}: its recipe or configuration describes a model with more {kind} than its weight files hold. "
                "Train the run again, or restore its files."
            )

    def weight(_module: Any, _name: str, tensor: Tensor | None) -> None:
        if threading.get_ident() == thread and tensor is not None:
            count("weights", 1)
            count("numbers", tensor.numel())

    def part(_module: Any, _name: str, _part: Any) -> None:
        if threading.get_ident() == thread:
            count("modules", 1)

    handles = [
        torch_module.register_module_parameter_registration_hook(weight),
        torch_module.register_module_buffer_registration_hook(weight),
        torch_module.register_module_module_registration_hook(part),
    ]
    try:
        with _within_memory(run):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _within_memory(run: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError) as error:
        if "allocate" in str(error) or not isinstance(error, RuntimeError):
            raise ArtifactError(
                f"{run}: its recipe or configuration describes a model that does not fit into memory. Train the run "
                "again, or restore its files."
            ) from error
        raise
