"""RecModel: adapted backbone and head, one module with one forward."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lorarec.contracts import Adapter, Backbone, Batch, Encoded, Head, HeadOutput, PointwiseHead, RetrievalHead, Views

LOWER_STATES = "lower_states"
"""Name among a chunk's features of hidden states from which the network can start, see `RecModel.lower_blocks`."""

STRETCH = 2**16
"""Items whose vectors a head makes at once: what it needs on the way then does not grow with the catalogue."""


class StepOutput(NamedTuple):
    """What training needs of a batch. A NamedTuple, so that Accelerate casts it back to float32."""

    loss: Tensor
    """[] summed over the batch's supervised facts."""
    penalty: Tensor
    """[] what the adapter adds to the loss of a step; 0 where it adds nothing."""


class RecModel(nn.Module):
    """Backbone, adapter and head. Every use goes through `forward`, which DDP and FSDP wrap."""

    def __init__(self, backbone: Backbone, adapter: Adapter, network: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.adapter = adapter
        self.network = network
        """The backbone's module as the adapter returned it."""
        self.lower_blocks = 0
        """How many of the lowest blocks LOWER_STATES stand in for, where a chunk brings them."""
        self.head = head.float()
        self._no_split_modules = getattr(backbone.module, "_no_split_modules", None)
        """Names of the blocks that FSDP shards as wholes."""

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

    def forward(
        self,
        batch: Batch | Views | Tensor,
        use: Literal["loss", "scores", "users", "encode", "items", "refresh"] = "loss",
        table: Tensor | None = None,
    ) -> StepOutput | Tensor:
        """What `use` asks for.

        "loss" and "scores" [B] and "users" [B, d] read a Batch; "encode" turns Views into vectors [V, D];
        "items" turns a table of encoded items [N, D] into the retrieval head's vectors [N, d]; "refresh" hands the head
        that table and returns it.
        `table` [N, D] stands in for encoding the batch's item views.
        """
        if isinstance(batch, Views):
            return BatchEncoder(self, {"views": batch}, table)("views")
        if isinstance(batch, Tensor):
            if use == "refresh":
                self.head.refresh(batch)
                return batch
            assert isinstance(self.head, RetrievalHead), "only retrieval heads have item vectors"
            rows = torch.arange(len(batch), device=batch.device)
            parts = (slice(start, start + STRETCH) for start in range(0, len(batch), STRETCH))
            return torch.cat([self.head.item_vectors(batch[part], rows[part]) for part in parts])
        encode = BatchEncoder(self, batch.views, table)
        if use == "scores":
            assert isinstance(self.head, PointwiseHead), "only pointwise heads score pairs"
            return self.head.score(encode, batch)
        if use == "users":
            assert isinstance(self.head, RetrievalHead), "only retrieval heads have user vectors"
            return self.head.user_vectors(encode, batch)
        output: HeadOutput = self.head(encode, batch)
        penalty = self.adapter.penalty(self.network) if self.training else None
        return StepOutput(output.loss, output.loss.new_zeros(()) if penalty is None else penalty.float())


class BatchEncoder:
    """The `Encoder` that a head is handed: runs views through the network chunk by chunk, or looks items up."""

    def __init__(self, model: RecModel, views: dict[str, Views], table: Tensor | None) -> None:
        self._model = model
        self._views = views
        self._table = table

    def __call__(self, views: str) -> Tensor:
        """[V, D] float32 vectors, in the order in which the views were given to `collate`."""
        wanted = self._views[views]
        if wanted.items is not None and self._table is not None:
            return self._table[wanted.items]
        pooled = torch.cat([encoded.pooled.float() for encoded in self._encoded(wanted)])
        return pooled[wanted.order]

    def steps(self, views: str) -> Tensor | None:
        """[V, L, D] states after each event, right-aligned; None where the backbone has none."""
        wanted = self._views[views]
        steps = [encoded.steps for encoded in self._encoded(wanted)]
        if any(step is None for step in steps):
            return None
        longest = max(step.shape[1] for step in steps if step is not None)
        padded = [nn.functional.pad(s.float(), (0, 0, longest - s.shape[1], 0)) for s in steps if s is not None]
        return torch.cat(padded)[wanted.order]

    def _encoded(self, views: Views) -> list[Encoded]:
        return [self._encode(chunk) for chunk in views.chunks]

    def _encode(self, chunk: dict[str, Tensor]) -> Encoded:
        model = self._model
        if LOWER_STATES not in chunk:
            return model.backbone.encode(model.network, chunk)
        features = {name: tensor for name, tensor in chunk.items() if name != LOWER_STATES}
        return model.backbone.encode_above(model.network, features, model.lower_blocks, chunk[LOWER_STATES])
