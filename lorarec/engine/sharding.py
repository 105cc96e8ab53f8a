"""Sharding (FSDP2): each process holds a part of the backbone's weights, and gathers a block just before it computes.

The weights that an adapter or a head adds, and scalars, stay whole on every process, as under DDP: they are few, and
adapters and heads read them outside of the network's forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lorarec.contracts import Batch, Views
from lorarec.model.rec_model import RecModel
from lorarec.model.trainable import trainable_weights


def shard(model: RecModel, accelerator: Accelerator) -> None:
    """Shard the backbone's own weights in place, block by block, and move everything to the process's device.

    Call it before the optimizer is built. Precision is that of one process: autocast, not FSDP's casting of weights.
    """
    for part in (model.head, model.network):
        for weight in part.parameters():
            if weight not in model.pretrained:
                weight.data = weight.data.to(accelerator.device)
    accelerator.prepare_model(model, device_placement=False, evaluation_mode=True)  # autocast alone
    frees_blocks = FullyShardedDataParallelPlugin().reshard_after_forward  # of the launcher's environment
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    whole = {weight for weight in model.parameters() if weight not in model.pretrained or not weight.ndim}
    for module in [*_blocks(model), model]:
        fully_shard(
            module,
            mesh=mesh,
            # What is in no block is needed again as soon as the backward pass begins.
            reshard_after_forward=frees_blocks and module is not model,
            ignored_params=whole,
        )


def _blocks(model: RecModel) -> list[nn.Module]:
    """The backbone's blocks; none where it names no list of them, and the whole backbone is then gathered at once."""
    path = model.backbone.architecture().blocks
    lists = [part for name, part in model.network.named_modules() if path and f".{name}".endswith(f".{path}")]
    return list(lists[0].children()) if lists else []


def reshard(model: nn.Module) -> None:
    """Let every process hold its shards alone again: after a forward without backward, some weights are still whole."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def not_synchronized(model: nn.Module, accelerator: Accelerator) -> AbstractContextManager[None]:
    """A context in which backward passes do not exchange gradients."""
    return _without_sync(model) if isinstance(model, FSDPModule) else accelerator.no_sync(model)


@contextmanager
def _without_sync(model: FSDPModule) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def average_whole_gradients(model: nn.Module, accelerator: Accelerator) -> None:
    """Average the gradients of the weights that are whole on every process, as DDP does; FSDP averages the others."""
    weights = [weight for weight in trainable_weights(model) if not isinstance(weight, DTensor)]
    gradients: list[Tensor] = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    if not gradients:
        return
    mean = accelerator.reduce(parameters_to_vector(gradients), reduction="mean")
    vector_to_parameters(mean, gradients)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


def with_equal_passes(batches: list[Batch], accelerator: Accelerator) -> list[Batch]:
    """The batches, with as many chunks of each kind of view as the process with most has.

    Each chunk is one pass of the network, in which all processes gather its weights together. The added chunks are the
    batch's first view again; nothing reads their vectors.
    """
    kinds = sorted(batches[0].views)
    counts = torch.tensor([[len(batch.views[kind].chunks) for batch in batches for kind in kinds]])
    most = accelerator.gather(counts.to(accelerator.device)).amax(dim=0).reshape(len(batches), len(kinds)).tolist()
    return [
        replace(batch, views={kind: _padded(batch.views[kind], count) for kind, count in zip(kinds, row, strict=True)})
        for batch, row in zip(batches, most, strict=True)
    ]


def _padded(views: Views, count: int) -> Views:
    """The same views in `count` chunks."""
    missing = count - len(views.chunks)
    if not missing:
        return views
    first = {name: tensor[:1] for name, tensor in views.chunks[0].items()}
    lower = views.lower
    if lower is not None:
        states = lower.chunks[0]
        lower = lower._replace(chunks=[*lower.chunks, *[None if states is None else states[:1]] * missing])
    return views._replace(chunks=[*views.chunks, *[first] * missing], lower=lower)
