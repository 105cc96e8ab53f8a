"""BatchEncoder: turns a batch's views into vectors, states or logits for a head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lorarec.contracts import OWN_ADAPTER, Adapter, Backbone, Encoded, Views
from lorarec.errors import IncompatibleError


class BatchEncoder:
    """The `Encoder` of a head: runs views through the network chunk by chunk, or looks items up in a table.

    `adapter`: name of the adapter that its calls of the network use.
    """

    def __init__(
        self,
        backbone: Backbone,
        network: nn.Module,
        adapters: Mapping[str, Adapter],
        views: dict[str, Views],
        table: Tensor | None = None,
        adapter: str = OWN_ADAPTER,
    ) -> None:
        """`network`: the backbone's module with the adapters, by name; `table` [N, D] replaces encoding views of single
        items."""
        self._backbone, self._network, self._adapters = backbone, network, adapters
        self._views = views
        self._table = table
        self._adapter: str | None = adapter

    def vectors(self, views: str) -> Tensor:
        """[V, D] float32 vectors."""
        wanted = self._views[views]
        if wanted.items is not None and self._table is not None and self._reads_table():
            return self._table[wanted.items]
        return torch.cat([encoded.pooled.float() for encoded in self._encoded(wanted)])[wanted.order]

    def _reads_table(self) -> bool:
        """Whether the item table has the vectors to encode. Raises IncompatibleError if not, since with a table items
        come without features."""
        if self._adapter == OWN_ADAPTER:
            return True
        with self._switched():
            if self._network is self._backbone.module:  # no adapter: its own reference
                return True
        raise IncompatibleError(
            "Items are looked up in the table of the run's own adapter, so there is no reference for them here. "
            "A head may use the reference in `losses`, in training."
        )

    def states(self, views: str) -> Tensor | None:
        """[V, L, D] float32 states after each event, right-aligned; None if the backbone has none."""
        wanted = self._views[views]
        states = [encoded.states for encoded in self._encoded(wanted)]
        if any(state is None for state in states):
            return None
        longest = max(state.shape[1] for state in states if state is not None)
        padded = [nn.functional.pad(s.float(), (0, 0, longest - s.shape[1], 0)) for s in states if s is not None]
        return torch.cat(padded)[wanted.order]

    def logits(self, views: str, tokens: Sequence[str]) -> Tensor:
        """[V, K] float32 logits of named tokens."""
        wanted = self._views[views]
        with self._switched():
            logits = [self._backbone.logits(self._network, chunk, tokens).float() for chunk in wanted.chunks]
        return torch.cat(logits)[wanted.order]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside the context, calls of this encoder, and no others, use the network without any adapter."""
        before, self._adapter = self._adapter, None
        try:
            with torch.no_grad():
                yield
        finally:
            self._adapter = before

    @contextmanager
    def _switched(self) -> Iterator[None]:
        if self._adapter is not None:
            if self._adapter not in self._adapters:
                names = ", ".join(f"'{name}'" for name in self._adapters)
                raise IncompatibleError(f"There is no adapter '{self._adapter}' on this model. There are: {names}.")
            with self._adapters[self._adapter].active(self._network, self._adapter):
                yield
            return
        with self._adapters[OWN_ADAPTER].disabled(self._network):
            training = self._network.training
            self._network.eval()
            try:
                yield
            finally:
                self._network.train(training)

    def _encoded(self, views: Views) -> list[Encoded]:
        backbone, network, lower = self._backbone, self._network, views.lower
        with self._switched():
            if lower is None or self._adapter not in (OWN_ADAPTER, None):  # others may change the lower blocks
                return [backbone.encode(network, chunk) for chunk in views.chunks]
            return [
                backbone.encode(network, chunk)
                if states is None
                else backbone.encode_above(network, chunk, lower.blocks, states)
                for chunk, states in zip(views.chunks, lower.chunks, strict=True)
            ]
