"""RecModel: a backbone with an adapter, and a head, in one module; its methods are run by `call`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from lorarec.contracts import OWN_ADAPTER, Adapter, Architecture, Backbone, Batch, Head, Views
from lorarec.contracts.loss import check_losses
from lorarec.errors import IncompatibleError, LorarecError, PluginError
from lorarec.model.encoder import BatchEncoder

STRETCH = 2**16
"""Number of items whose vectors a head computes at once, so that its memory does not grow with the catalog."""


def check_compatible(backbone: Backbone, adapter: Adapter, gradient_checkpointing: bool) -> Architecture:
    """The backbone's architecture, if the adapter supports it, before any weight is loaded.

    Raises IncompatibleError otherwise.
    """
    architecture = backbone.architecture()
    adapter.check(architecture)
    if gradient_checkpointing and not adapter.supports_gradient_checkpointing:
        raise IncompatibleError(
            f"Adapter '{adapter.name}' does not support gradient checkpointing. Set train.gradient_checkpointing=false."
        )
    return architecture


def usable_length(architecture: Architecture, adapter: Adapter) -> int:
    """Positions left for a view once the adapter has taken its own. Raises IncompatibleError if too few are left."""
    reserved: Any = adapter.reserved_positions()
    if not isinstance(reserved, int) or reserved < 0:
        raise PluginError(
            f"adapter '{adapter.name}': `reserved_positions` gives {str(reserved)[:50]}, and no number of positions."
        )
    left = architecture.max_length - reserved
    if left < 8:
        raise IncompatibleError(
            f"Adapter '{adapter.name}' takes {reserved} of the {architecture.max_length} positions "
            f"of backbone '{architecture.backbone}': too few are left for a text. Use fewer virtual tokens."
        )
    return left


class StepOutput(NamedTuple):
    """The results of a batch in training. A NamedTuple, so that Accelerate casts it back to float32."""

    losses: Tensor
    """[T] of the batch's targets."""
    regularizer: Tensor
    """[] the head's term in addition to their weighted sum; 0 if there is none."""
    penalty: Tensor
    """[] the adapter's term in the loss of a step; 0 if there is none."""


class RecModel(nn.Module):
    """Backbone, adapter and head. Its methods are run by `call`, which goes through whatever wraps the model."""

    def __init__(
        self,
        backbone: Backbone,
        adapter: Adapter,
        network: nn.Module,
        head: Head,
        pretrained: Collection[nn.Parameter] = (),
    ) -> None:
        """`network`: the backbone's module as the adapter returned it; `pretrained`: those of its weights that it had
        before, which may be sharded."""
        super().__init__()
        self.backbone = backbone
        self.adapter = adapter
        self.adapters = {OWN_ADAPTER: adapter}
        """The adapters on the network by name: the run's own, and those added."""
        self.network = network
        self.head = head.float()
        self.pretrained = frozenset(pretrained)

    @property
    def network_trains(self) -> bool:
        """Whether any weight of the network trains; if none does, item vectors never change."""
        return any(p.requires_grad for p in self.network.parameters())

    def train(self, mode: bool = True) -> RecModel:
        """A network without trainable weights stays in eval mode: dropout there would only add noise."""
        super().train(mode)
        if mode and not self.network_trains:
            self.network.eval()
        return self

    def add_adapter(self, name: str, adapter: Adapter, folder: Path) -> None:
        """Add the adapter that another run of this backbone saved in `folder`, as `name`.

        Raises IncompatibleError if it does not fit. `vectors` accepts the name.
        """
        if name in self.adapters:
            raise IncompatibleError(f"There is an adapter '{name}' already. Use another name.")
        adapter.add(self.network, self.backbone, folder, name)
        self.adapters[name] = adapter

    def forward(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Run the method of that name, see `call`: DDP, FSDP and autocast act on `forward` alone."""
        return getattr(self, method)(*arguments, **options)

    def losses(self, batch: Batch, table: Tensor | None = None) -> StepOutput:
        """Losses, regularizer and penalty of a batch. `table` [N, D] replaces encoding the batch's item views.

        Raises PluginError unless the head gives one loss per target, and one number or None as its regularizer.
        """
        losses = self.head.losses(self.encoder(batch.views, table), batch)
        name = f"{type(self.head).__name__}.losses"
        check_losses(losses, batch.count, name)
        if self.training and torch.is_grad_enabled() and batch.count and not losses.requires_grad:
            raise PluginError(f"{name} gives losses without a gradient, so that nothing would train.")
        penalty = self.adapter.penalty(self.network) if self.training else None
        return StepOutput(
            losses.float(),
            _one_number(self.head.regularizer(batch), f"{type(self.head).__name__}.regularizer", losses),
            _one_number(penalty, f"{type(self.adapter).__name__}.penalty", losses),
        )

    def answer(self, batch: Batch, method: str, table: Tensor | None = None) -> Tensor:
        """The result of a method of the head, such as "score" or "user_vectors", for a batch.

        Any `method(encode, batch)` of the head may be named. `table` [N, D] replaces encoding the batch's item views.
        """
        answer: Tensor = getattr(self.head, method)(self.encoder(batch.views, table), batch)
        return answer

    def answer_items(self, table: Tensor, method: str) -> Tensor:
        """[N, ...] result of a method of the head, such as "item_vectors", for the whole catalog's vectors [N, D].

        The head's `method(pooled, items)` is called with blocks of [M, D] and their catalog rows [M].
        """
        rows = torch.arange(len(table), device=table.device)
        parts = (slice(start, start + STRETCH) for start in range(0, len(table), STRETCH))
        return torch.cat([getattr(self.head, method)(table[part], rows[part]) for part in parts])

    def vectors(self, views: Views, adapter: str = OWN_ADAPTER) -> Tensor:
        """[V, D] float32 vectors of views, encoded with the adapter of that name."""
        return self.encoder({"views": views}, adapter=adapter).vectors("views")

    def encoder(self, views: dict[str, Views], table: Tensor | None = None, adapter: str = OWN_ADAPTER) -> BatchEncoder:
        """The `Encoder` of a head for a batch with these views, by name."""
        return BatchEncoder(self.backbone, self.network, self.adapters, views, table, adapter)

    def refresh(self, table: Tensor) -> None:
        """Pass the vectors [N, D] of the whole catalog to the head, see `Head.refresh`."""
        self.head.refresh(table)


def _one_number(given: Tensor | None, method: str, losses: Tensor) -> Tensor:
    """[] float32, 0 for None. Raises PluginError for anything else than one number."""
    if given is None:
        return losses.new_zeros((), dtype=torch.float32)
    if not isinstance(given, Tensor) or given.shape != ():
        what = f"a tensor of shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise PluginError(f"{method} gives {what}: it must be a tensor of one number, [], or None.")
    return given.float()


P = ParamSpec("P")
R = TypeVar("R")


def call(model: nn.Module, method: Callable[Concatenate[RecModel, P], R], *arguments: P.args, **options: P.kwargs) -> R:
    """Run a method of a RecModel that may be wrapped: `call(model, RecModel.losses, batch, table)`.

    Wrappers that average gradients, gather sharded weights or cast act when they are called themselves; a method
    called past them would miss it.
    """
    return cast(R, model(method.__name__, *arguments, **options))


class AskedModel:
    """A RecModel that may be wrapped, with the interface of predictors: `lorarec.contracts.Model`."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._device = next(model.parameters()).device

    def answer(self, batch: Batch, method: str, table: Tensor | None = None) -> Tensor:
        """`RecModel.answer`, with the batch moved to the model's device. Raises LorarecError if it holds NaN."""
        return _numbers(call(self._model, RecModel.answer, batch.to(self._device), method, table))

    def answer_items(self, table: Tensor, method: str) -> Tensor:
        """`RecModel.answer_items`. Raises LorarecError if it holds NaN."""
        return _numbers(call(self._model, RecModel.answer_items, table, method))


def _numbers(answer: Tensor) -> Tensor:
    if bool(answer.isnan().any()):
        raise LorarecError(
            "The model answers NaN, so that nothing can be predicted: its weights, or the config.json of its backbone, "
            "are not those of a trained model. Restore the run, or train again with a lower train.learning_rate."
        )
    return answer


def encoder_of(model: nn.Module) -> Callable[[Views], Tensor]:
    """[V, D] vectors of views from the current weights of a RecModel that may be wrapped."""
    return lambda views: call(model, RecModel.vectors, views)
