"""Recommender: a finished run that answers, with the caller's own ids."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.artifact.answers import Recommendation, UnknownIdWarning
from lorarec.artifact.item_index import ItemIndex
from lorarec.artifact.requests import Requests
from lorarec.contracts import Collation, Featurizer, NegativeSampler, Part, RetrievalHead, Statistics, TaskHead
from lorarec.data.catalog import Catalog
from lorarec.data.history import Histories
from lorarec.data.interactions import Interactions
from lorarec.data.requests import pair_interactions
from lorarec.engine.calibration import Calibration
from lorarec.engine.examples import Examples
from lorarec.errors import DataError, IncompatibleError
from lorarec.model.diversity import diversified, pool_size
from lorarec.model.item_table import encoded_catalogue
from lorarec.model.ranking import catalogue_scores, mask_seen, top_items, users_at_once
from lorarec.model.rec_model import RecModel, call, encoder_of

BLOCK = 256
"""Requests answered at once."""
PAIRS = 2**14
"""Pairs of a request and an item scored at once: the histories of the few requests among them are read once."""


@dataclass
class Recommender:
    """A trained model with its catalogue. Histories are the caller's: nothing about users is kept but their ids."""

    path: Path
    metrics: dict[str, Any]
    catalog: Catalog
    user_ids: list[str]
    statistics: Statistics
    head: TaskHead
    model: RecModel
    featurizer: Featurizer
    seed: int
    item_vectors: Tensor | None = None
    """[N, d] for retrieval heads."""
    calibration: Calibration | None = None
    """Makes of a click's probability what `lorarec calibrate` found; None where it was not asked."""
    sample: list[tuple[str, float]] = field(default_factory=list)
    """A history (item id, feedback) from the test part, right after training; empty in a loaded run."""
    _table: Tensor | None = None
    _index: ItemIndex | None = None

    def __post_init__(self) -> None:
        if self.item_vectors is not None:  # beside the users' vectors, which the model makes
            self.item_vectors = self.item_vectors.to(self._device)

    @torch.inference_mode()
    def predict(
        self,
        items: Sequence[str],
        histories: Sequence[Sequence[str]] | None = None,
        feedback: Sequence[Sequence[float]] | None = None,
        users: Sequence[str] | None = None,
    ) -> np.ndarray:
        """[n] scores of (history, item) pairs: stars, probabilities, or a next-item head's dot products.

        `histories`: item ids of each user, oldest first; `feedback`: stars or clicks beside them; `users`: ids, for
        heads with weights a user. Ids that are not known are named in an UnknownIdWarning: a history is read without
        them, a user counts as new, and an unknown item's score is NaN.
        """
        rows = np.array([self.catalog.rows.get(str(item), -1) for item in items], np.int64)
        self._tell("items to score", [str(i) for i, row in zip(items, rows, strict=True) if row < 0], "get no score")
        scores = np.full(len(rows), np.nan)
        known = np.flatnonzero(rows >= 0)
        requests = self._requests(histories, feedback, users, len(rows))
        if len(known):
            scores[known] = self._scores(requests.subset(known), rows[known])
        return scores

    @torch.inference_mode()
    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        feedback: Sequence[Sequence[float]] | None = None,
        users: Sequence[str] | None = None,
        candidates: Sequence[str] | None = None,
        exclude_seen: bool = True,
        approximate: bool = False,
        diversify: float = 0.0,
    ) -> list[list[Recommendation]]:
        """The best k items for each history, best first; items of the history are left out unless asked for.

        `candidates` narrows the catalogue. Fewer than k come back where there are not that many.

        `diversify` weighs how unlike each other a list's items are against their scores: 0.3 is a good first try; the
        order is then that in which they were chosen.

        `approximate` asks an index of the item vectors, which is built at the first such call and kept in memory: it
        misses an item now and then, and pays where many calls are to come on a catalogue of 100,000 items or more. It
        is for retrieval heads, without `candidates`, and needs faiss (extra `index`). Scores are exact all the same.
        """
        if k < 1:
            raise DataError(f"k is {k}: ask for at least one item.")
        if not 0 <= diversify <= 1:
            raise DataError(f"diversify is {diversify:g}: give a weight between 0 (by score alone) and 1.")
        if approximate and diversify:
            raise DataError("diversify chooses from the exact scores: leave approximate out.")
        requests = self._requests(histories, feedback, users, len(histories))
        if approximate:
            return self._approximate(requests, k, candidates, exclude_seen)
        items = self._candidate_rows(candidates)
        column = np.full(len(self.catalog), -1)
        column[items] = np.arange(len(items))
        answers: list[list[Recommendation]] = []
        for seen, scores in self._score_blocks(requests, items):
            if exclude_seen:
                had = [column[history] for history in seen]
                mask_seen(scores, [found[found >= 0] for found in had])
            places, best = top_items(scores, pool_size(k) if diversify else k)
            rows = torch.where(places < 0, -1, torch.from_numpy(items).to(places.device)[places])
            if diversify:
                chosen = diversified(rows, best, self.vectors().to(best.device), k, diversify)
                rows, best = rows.gather(1, chosen), best.gather(1, chosen)
            # Calibrated last: an isotonic one makes scores equal, and the catalogue's order would decide.
            answers += self._named(rows.cpu().numpy(), self._calibrated(best.cpu().numpy()))
        return answers

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """[N, d] what items are compared by: the head's item vectors without a bias, else the backbone's of their
        texts."""
        if self.item_vectors is not None:
            assert isinstance(self.model.head, RetrievalHead)
            return self.model.head.likeness_vectors(self.item_vectors.to(self._device))
        if self._table is None:
            nobody = Requests([[]], [[]], [-1]).tables(np.zeros(1, np.int64), self.user_ids, self._liked_above)
            self._table = encoded_catalogue(encoder_of(self.model), self._examples(*nobody).collation, self._device)
        return self._table

    @torch.no_grad()
    def _approximate(
        self, requests: Requests, k: int, candidates: Sequence[str] | None, exclude_seen: bool
    ) -> list[list[Recommendation]]:
        if self.head.kind != "retrieval":
            raise IncompatibleError(
                f"approximate: head '{self.head.name}' scores each pair of a history and an item anew and has no item "
                "vectors to search among. Leave approximate out, or name candidates."
            )
        if candidates is not None:
            raise DataError("approximate searches the whole catalogue: leave it out where candidates are named.")
        assert self.item_vectors is not None
        self._index = self._index or ItemIndex(self.item_vectors)
        answers: list[list[Recommendation]] = []
        for start in range(0, len(requests), BLOCK):
            block = requests.subset(np.arange(start, min(start + BLOCK, len(requests))))
            seen = [np.unique(np.asarray(history if exclude_seen else [], np.int64)) for history in block.histories]
            rows, best = self._index.best(self._user_vectors(block), k, seen)
            answers += self._named(rows.cpu().numpy(), best.cpu().numpy())
        return answers

    def _candidate_rows(self, candidates: Sequence[str] | None) -> np.ndarray:
        """[C] catalogue rows, ascending."""
        if candidates is None:
            return np.arange(len(self.catalog))
        known = [self.catalog.rows[str(item)] for item in candidates if str(item) in self.catalog.rows]
        self._tell("candidates", [str(i) for i in candidates if str(i) not in self.catalog.rows], "are left out")
        if not known:
            raise DataError("None of the candidates is in the run's catalogue: there is nothing to recommend.")
        return np.unique(known)

    def _named(self, rows_BK: np.ndarray, scores_BK: np.ndarray) -> list[list[Recommendation]]:
        """Catalogue rows as items; row -1 is none."""
        distinct = np.unique(rows_BK[rows_BK >= 0])
        titles = dict(zip(distinct.tolist(), self.catalog.titles(distinct.tolist()), strict=True))
        ids = self.catalog.ids
        return [
            [Recommendation(ids[row], titles[row], score) for row, score in zip(rows, scores, strict=True) if row >= 0]
            for rows, scores in zip(rows_BK.tolist(), scores_BK.tolist(), strict=True)
        ]

    @torch.no_grad()
    def _score_blocks(self, requests: Requests, items: np.ndarray) -> Iterator[tuple[list[np.ndarray], Tensor]]:
        """Histories, and scores [b, C] of these catalogue rows for them, a few requests at a time."""
        retrieval, vectors = self.head.kind == "retrieval", self.item_vectors
        if vectors is not None and len(items) < len(vectors):
            vectors = vectors[torch.from_numpy(items)]
        size = BLOCK if retrieval else min(BLOCK, users_at_once(len(items)))
        for start in range(0, len(requests), size):
            block = requests.subset(np.arange(start, min(start + size, len(requests))))
            histories = [np.asarray(history, np.int64) for history in block.histories]
            if retrieval:
                assert vectors is not None
                for part, scores in catalogue_scores(self._user_vectors(block), vectors):
                    yield histories[part], scores
            else:
                yield histories, self._pair_scores(block, items)

    def _pair_scores(self, requests: Requests, items: np.ndarray) -> Tensor:
        """[n, C] a pointwise head's scores of these catalogue rows for each request."""
        interactions, histories = requests.tables(np.zeros(len(requests), np.int64), self.user_ids, self._liked_above)
        scores = torch.empty(len(requests) * len(items))
        for start in range(0, len(scores), PAIRS):
            pairs = np.arange(start, min(start + PAIRS, len(scores)))
            asked = pairs // len(items)
            table = pair_interactions(interactions, asked, items[pairs % len(items)])
            scores[start : start + len(pairs)] = self._scored(table, histories.of_rows(asked), PAIRS)
        return scores.view(len(requests), len(items))

    @torch.no_grad()
    def _scores(self, requests: Requests, items: np.ndarray) -> np.ndarray:
        """[n] scores of known items, one a request."""
        if self.head.kind == "retrieval":
            assert self.item_vectors is not None
            vectors = self.item_vectors[torch.from_numpy(items)]
            return (self._user_vectors(requests) * vectors).sum(dim=1).double().cpu().numpy()
        scores = self._scored(*requests.tables(items, self.user_ids, self._liked_above), BLOCK)
        return self._calibrated(scores.double().numpy())

    def _scored(self, interactions: Interactions, histories: Histories, size: int) -> Tensor:
        """[n] a pointwise head's scores of requests, so many at once, as the head gives them."""
        return self._answered(interactions, histories, "score", size).cpu()

    def _calibrated(self, scores: np.ndarray) -> np.ndarray:
        return scores if self.calibration is None else self.calibration(scores.astype(np.float64))

    def _user_vectors(self, requests: Requests) -> Tensor:
        tables = requests.tables(np.zeros(len(requests), np.int64), self.user_ids, self._liked_above)
        return self._answered(*tables, "user_vectors", BLOCK).float()

    def _answered(self, interactions: Interactions, histories: Histories, method: str, size: int) -> Tensor:
        """What a method of the head says of each request."""
        examples = self._examples(interactions, histories)
        if self._table is None and examples.reads_items():
            self._table = encoded_catalogue(encoder_of(self.model), examples.collation, self._device)
        if self._table is not None:
            examples = examples.with_table()
        blocks = examples.blocks(size)
        batches = (examples.batch(rows).to(self._device) for rows in blocks)
        return torch.cat([call(self.model, RecModel.answer, batch, method, self._table) for batch in batches])

    def _examples(self, interactions: Interactions, histories: Histories) -> Examples:
        collation = Collation(
            interactions=interactions,
            histories=histories,
            featurizer=self.featurizer,
            negatives=NegativeSampler(self.seed, len(self.catalog)),
            catalog_size=len(self.catalog),
            training=False,
            catalog=self.catalog,
        )
        return Examples(self.head.examples(interactions, histories, Part.TEST), self.head, collation)

    @property
    def _liked_above(self) -> float:
        return self.statistics.liked_above

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _requests(
        self,
        histories: Sequence[Sequence[str]] | None,
        feedback: Sequence[Sequence[float]] | None,
        users: Sequence[str] | None,
        count: int,
    ) -> Requests:
        histories = histories if histories is not None else [()] * count
        for name, given in (("histories", histories), ("feedback", feedback), ("users", users)):
            if given is not None and len(given) != count:
                raise DataError(f"There are {count} requests, but {len(given)} {name}. Give one a request.")
        rows: list[list[int]] = []
        numbers: list[list[float]] = []
        unknown: list[str] = []
        for place, history in enumerate(histories):
            beside = feedback[place] if feedback is not None else [np.nan] * len(history)
            if len(beside) != len(history):
                raise DataError(f"Request {place + 1}: {len(history)} items in the history, {len(beside)} feedbacks.")
            known = [(self.catalog.rows.get(str(item), -1), float(f)) for item, f in zip(history, beside, strict=True)]
            unknown += [str(item) for item, (row, _) in zip(history, known, strict=True) if row < 0]
            rows.append([row for row, _ in known if row >= 0])
            numbers.append([f for row, f in known if row >= 0])
        self._tell("items in histories", unknown, "are left out of them")
        return Requests(rows, numbers, self._user_rows(users, count))

    def _user_rows(self, users: Sequence[str] | None, count: int) -> list[int]:
        if users is None or not self.head.uses_users:
            return [-1] * count
        known = {user: row for row, user in enumerate(self.user_ids)}
        self._tell("users", [str(user) for user in users if str(user) not in known], "count as new users")
        return [known.get(str(user), -1) for user in users]

    def _tell(self, what: str, ids: list[str], consequence: str) -> None:
        names = list(dict.fromkeys(ids))
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            message = f"{len(names)} unknown {what} {consequence}: {', '.join(names[:5])}{more}."
            warnings.warn(message, UnknownIdWarning, stacklevel=3)
