"""Trainable weights: list, count, extract and restore them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from lorarec.errors import CheckpointError, IncompatibleError


class WeightCount(NamedTuple):
    """Numbers of weights."""

    trainable: int
    total: int

    @property
    def share(self) -> float:
        """Trainable weights as a share of all."""
        return self.trainable / self.total if self.total else 0.0


def trainable_names(model: nn.Module) -> list[str]:
    """Names of the parameters that train, in the model's order. Raises IncompatibleError if there are none."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not names:
        raise IncompatibleError("Nothing would train: neither the adapter nor the head has a trainable weight.")
    return names


def trainable_weights(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that train, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def count_weights(module: nn.Module) -> WeightCount:
    """Trainable and all weights of a module; shared ones count once."""
    parameters = list(module.parameters())
    return WeightCount(sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters))


def extract(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Copies on the CPU of the named parameters. Gathers sharded ones: call it on every process."""
    parameters = dict(model.named_parameters())
    return {name: _whole(parameters[name]) for name in names}


def put_back(model: nn.Module, weights: dict[str, Tensor], names: list[str], where: str) -> None:
    """Load the weights of `extract`; `where` names the file in messages. Raises CheckpointError on any difference."""
    missing, unknown = sorted(set(names) - set(weights)), sorted(set(weights) - set(names))
    if missing or unknown:
        raise CheckpointError(
            f"{where}: holds other weights than this recipe trains (missing: {missing[:3]}, unknown: {unknown[:3]}). "
            "It belongs to another recipe or another version of a plugin."
        )
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in names:
            _set(parameters[name], weights[name], name, where)


def _whole(parameter: Tensor) -> Tensor:
    # A copy: on the CPU `.cpu()` would alias the weight, and training would continue in the snapshot.
    if isinstance(parameter, DTensor):
        parameter = parameter.full_tensor()
    return parameter.detach().to("cpu", copy=True).contiguous()


def _set(parameter: Tensor, value: Tensor, name: str, where: str) -> None:
    if parameter.shape != value.shape:
        raise CheckpointError(
            f"{where}: weight '{name}' has shape {tuple(value.shape)}, the model's has {tuple(parameter.shape)}."
        )
    if isinstance(parameter, DTensor):
        value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
    parameter.copy_(value)
