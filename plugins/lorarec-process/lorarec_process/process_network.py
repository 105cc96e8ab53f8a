"""ProcessNetwork: a Gaussian process's variances, and the weights that follow from them and the training stars."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lorarec.contracts import Batch, Encoder, LossFunction, PairHead, Statistics
from lorarec_process.pair_features import RaterSpectrum, TextDirections
from lorarec_process.pair_process import EXACT, Features, PairKernel, PairProcess, PairSet, Weights, expected

SPECTRUM = 64
"""Dimensions of the spectrum of who rated what."""
TEXT = 96
"""Dimensions of the texts."""


class ProcessNetwork(PairHead):
    """Mean + the posterior mean of a Gaussian process over all (user, item) pairs, in stars.

    Each user has weights for the features of items (their text, who rated them), each item for those of users (what
    they rated), and some are shared by all. Given those of the items, a user's weights follow from the history alone:
    nothing is stored about users, and new users are handled like those of training.
    """

    raters: Tensor
    strength: Tensor
    text_mean: Tensor
    text_basis: Tensor
    item_columns: Tensor
    item_weights: Tensor
    shared_weights: Tensor
    event_rows: Tensor | None
    event_user: Tensor
    event_item: Tensor
    event_target: Tensor
    event_weight: Tensor

    def __init__(
        self, hidden_size: int, statistics: Statistics, loss: LossFunction, item_columns: Sequence[str] = ()
    ) -> None:
        """`item_columns`: those of the statistics' item features by which items are compared, in addition
        to their text."""
        super().__init__()
        self.loss = loss
        self._mean = statistics.label_mean
        self._range = (statistics.label_min, statistics.label_max)
        # Unit of the learned variances, so that their initial values suit stars of 1 to 5 and of 1 to 100.
        self._unit = max((statistics.label_max - statistics.label_min) / 4, 1e-6)
        self._items, self._users = len(statistics.item_counts), len(statistics.user_counts)
        text, spectrum = min(TEXT, hidden_size), min(SPECTRUM, max(1, self._items - 1))
        columns = {name: torch.from_numpy(statistics.item_features[name]).float() for name in item_columns}
        item_parts = {"one": 1, "text": text, "spectrum": spectrum}
        item_parts |= {f"column {name}": column.shape[1] for name, column in columns.items()}
        self.kernel = PairKernel(item_parts, {"one": 1, "spectrum": spectrum})
        appended = torch.cat([torch.empty(self._items, 0), *columns.values()], dim=1)
        self.register_buffer("item_columns", appended, persistent=False)
        self._keep_events(statistics)
        spectra = RaterSpectrum(torch.zeros(self._items, spectrum), torch.zeros(spectrum))
        if self.event_rows is not None:
            spectra = RaterSpectrum.of(self._pairs(self.event_user, self.event_item)[0], spectrum)
        self.register_buffer("raters", spectra.raters)
        self.register_buffer("strength", spectra.strength)
        self.register_buffer("text_mean", torch.zeros(hidden_size))
        self.register_buffer("text_basis", torch.zeros(hidden_size, text))
        self.register_buffer("item_weights", torch.zeros(self._items, 1 + spectrum))
        self.register_buffer("shared_weights", torch.zeros(sum(item_parts.values()), 1 + spectrum))

    def _keep_events(self, statistics: Statistics) -> None:
        """The training rows move with the weights from device to device, but are not saved with them."""
        events = statistics.events
        self.register_buffer("event_rows", None, persistent=False)
        if events is None:
            return
        target = (torch.from_numpy(events.label) - self._mean) / self._unit
        columns = {"rows": events.rows, "user": events.user, "item": events.item}
        for name, column in columns.items():
            self.register_buffer(f"event_{name}", torch.tensor(column), persistent=False)
        self.register_buffer("event_target", target.float(), persistent=False)
        # Normalized: only the proportions of weights may matter, as in the loss.
        weight = torch.from_numpy(events.weight / events.weight[events.weight > 0].mean())
        self.register_buffer("event_weight", weight.float(), persistent=False)

    def losses(self, encode: Encoder, batch: Batch) -> Tensor:
        """[T] the loss of each rating of each fold of the training rows, predicted from all other ratings."""
        texts = encode.vectors("items").float()
        assert self.event_rows is not None, "a loaded run has no training rows"
        with torch.autocast(texts.device.type, enabled=False):
            directions = TextDirections.of(texts.detach(), self.text_basis.shape[1])
            items = torch.zeros(self._items, self.text_basis.shape[1], device=texts.device)
            items = items.index_copy(0, batch.tensors["items"], directions.features(texts))
            process = self._process(items)
            targets = torch.searchsorted(self.event_rows, batch.tensors["targets"])
            fold, folds = batch.tensors["fold"], range(len(batch.rows))
            losses = torch.cat([self._fold_losses(process, targets[fold == each]) for each in folds])
            order = torch.cat([torch.nonzero(fold == each).squeeze(1) for each in folds])
            return torch.empty_like(losses).index_copy(0, order, losses)

    @torch.no_grad()
    def refresh(self, pooled: Tensor) -> None:
        """The weights of items that follow from the variances, the texts and all training stars."""
        if self.event_rows is None:
            return
        with torch.autocast(pooled.device.type, enabled=False):
            texts = pooled.float()
            directions = TextDirections.of(texts[torch.unique(self.event_item)], self.text_basis.shape[1])
            self.text_mean, self.text_basis = directions
            process = self._process(directions.features(texts))
            pairs, order = self._pairs(self.event_user, self.event_item)
            solved = process.solve(pairs, self.event_target[order], EXACT, self.event_weight[order])
            weights = process.weights(pairs, solved)
            self.item_weights, self.shared_weights = weights.items, weights.shared

    def score(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] stars, within the range of the training labels."""
        return self.preference(encode, batch).clamp(*self._range)

    def preference(self, encode: Encoder, batch: Batch) -> Tensor:
        """[B] stars, also beyond that range."""
        texts = encode.vectors("items").float()
        # Under mixed precision the users' regressions would be solved in half precision.
        with torch.autocast(texts.device.type, enabled=False):
            return self.loss.answer(self._in_stars(self._answers(texts, batch)))

    def _answers(self, texts: Tensor, batch: Batch) -> Tensor:
        tensors, spreads = batch.tensors, self.kernel.spreads()
        items, history, known = tensors["items"], tensors["history"], tensors["known"]
        text = self._directions.features(texts)
        features = self._item_features(text, items)
        users = _with_one(self._spectrum.of_histories(items[history], tensors["mask"]))
        answers = Weights(users, self.item_weights[items], self.shared_weights).of_items(features)
        shared = (users @ answers.T).gather(1, history)
        residual = ((tensors["feedback"] - self._mean) / self._unit - shared) * known
        own = user_weights(features * spreads.item.sqrt(), history, residual, known, self.kernel.log_noise.exp())
        candidate, owner = tensors["candidate"], tensors["owner"]
        liked = (own[owner] * (features * spreads.item.sqrt())[candidate]).sum(dim=1)
        return liked + (users[owner] * answers[candidate]).sum(dim=1)

    def _fold_losses(self, process: PairProcess, fold: Tensor) -> Tensor:
        """[m] the losses of the training rows with these indices [m], predicted from the others."""
        others = torch.ones_like(self.event_target, dtype=torch.bool)
        others[fold] = False
        seen, order = self._pairs(self.event_user[others], self.event_item[others])
        hidden, inside = self._pairs(self.event_user[fold], self.event_item[fold])
        target, weight = self.event_target[others][order], self.event_weight[others][order]
        answers = expected(process, seen, target, weight, hidden)
        losses: Tensor = self.loss(self._in_stars(answers), self._in_stars(self.event_target[fold][inside]))
        return torch.empty_like(losses).index_copy(0, inside, losses)

    def _in_stars(self, values: Tensor) -> Tensor:
        return self._mean + self._unit * values

    def _process(self, text: Tensor) -> PairProcess:
        """The process on the whole catalog, whose text features are [N, p]."""
        pairs, _ = self._pairs(self.event_user, self.event_item)
        items = self._item_features(text, torch.arange(len(text), device=text.device))
        features = Features(items, _with_one(self._spectrum.of_users(pairs)))
        return PairProcess(features, self.kernel.spreads(), self.kernel.log_noise.exp())

    def _item_features(self, text: Tensor, items: Tensor) -> Tensor:
        return _with_one(torch.cat([text, self._spectrum.of_items(items), self.item_columns[items]], dim=1))

    @property
    def _spectrum(self) -> RaterSpectrum:
        return RaterSpectrum(self.raters, self.strength)

    @property
    def _directions(self) -> TextDirections:
        return TextDirections(self.text_mean, self.text_basis)

    def _pairs(self, user: Tensor, item: Tensor) -> tuple[PairSet, Tensor]:
        return PairSet.of(user, item, self._users, self._items)


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(features[:, :1]), features], dim=1)


def user_weights(features: Tensor, history: Tensor, residual: Tensor, known: Tensor, noise: Tensor) -> Tensor:
    """[H, d] ridge regression per user: their weights for the items' features, fitted to residuals.

    features [V, d]; history [H, L] indices of their rows; residual [H, L]; known [H, L] true where there is one;
    noise []. An empty history gives 0.
    """
    rows = features[history] * known[..., None]
    grams = rows.mT @ rows + noise * torch.eye(features.shape[1], device=features.device, dtype=features.dtype)
    sums = (rows.mT @ residual[..., None].to(rows.dtype)).squeeze(-1)
    return torch.cholesky_solve(sums[..., None], torch.linalg.cholesky(grams)).squeeze(-1)
