"""Weight files: safetensors that a stranger may have written, read only if they hold finite weights of a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lorarec.errors import ArtifactError, IncompatibleError

MOST_HEADER = 2**24
"""Bytes of a file's table of weights."""


def load_weights(file: Path, wanted: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The weights in a safetensors file, on the CPU. `wanted`: weights of the model that they are for, by name.

    Raises ArtifactError naming the file if it is damaged, or the weight that is NaN or infinite; IncompatibleError
    naming weights that `wanted` lacks or has in addition, or that have another shape or type there.
    """
    with _reading(file):
        weights: dict[str, Tensor] = load_file(file)
    if wanted is not None:
        _check_same(weights, wanted, file)
    check_finite(weights, str(file))
    return weights


def weight_sizes(files: Iterable[Path]) -> list[int]:
    """The number of elements of each weight in safetensors files, of which only the headers are read.

    Raises ArtifactError naming a file that is damaged.
    """
    sizes: list[int] = []
    for file in files:
        with _reading(file), safe_open(file, framework="pt") as weights:
            sizes += [prod(weights.get_slice(name).get_shape()) for name in weights.keys()]  # noqa: SIM118 (no mapping)
    return sizes


def check_finite(weights: Mapping[str, Tensor], where: str) -> None:
    """Raises ArtifactError naming the first weight that holds NaN or an infinite number."""
    for name, weight in weights.items():
        if not weight.is_floating_point() or not weight.numel():
            continue
        # Faster than `isfinite`, and without a copy; types of one byte have no minimum.
        low, high = torch.aminmax(weight.detach() if weight.itemsize > 1 else weight.detach().float())
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise ArtifactError(
                f"{where}: weight '{name}' holds numbers that are NaN or infinite, so that answers would be "
                "meaningless. Train again, or restore the file."
            )


def _check_same(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], file: Path) -> None:
    missing, unknown = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    if missing or unknown:
        raise IncompatibleError(
            f"{file}: its weights are not those of the model here (missing: {missing[:3]}, unknown: {unknown[:3]})."
        )
    for name, weight in wanted.items():
        for what, found, here in (
            ("shape", tuple(weights[name].shape), tuple(weight.shape)),
            ("type", weights[name].dtype, weight.dtype),
        ):
            if found != here:
                raise IncompatibleError(f"{file}: weight '{name}' has {what} {found}, the model's has {here}.")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if length > min(MOST_HEADER, os.path.getsize(file)):
            raise ValueError(f"its header claims {length:,} bytes")
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ArtifactError(
            f"{file}: not as it was written ({reason}). Train the run again, or restore the file."
        ) from error
