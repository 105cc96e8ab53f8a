"""Recommender: a finished run that answers, with the caller's own ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import (
    Catalog,
    Collation,
    Examples,
    Featurizer,
    Head,
    NegativeSampler,
    Predictor,
    Requests,
    Statistics,
    TaskHead,
)
from lorarec.errors import DataError
from lorarec.evaluation.calibration import Calibration
from lorarec.inference.requests import candidates_of, item_rows, requests_of
from lorarec.model.item_table import encoded_catalogue
from lorarec.model.rec_model import AskedModel, RecModel, encoder_of
from lorarec.prediction.diversity import diversified, pool_size


class Recommendation(NamedTuple):
    """One item recommended."""

    item: str
    title: str
    score: float


@dataclass
class Recommender:
    """A trained model with its catalog. Histories are the caller's: nothing about users is kept.

    What the caller's ids stand for, and what may be asked, is decided here; how the answers are made, by the head's
    predictor.
    """

    path: Path
    metrics: dict[str, Any]
    catalog: Catalog
    statistics: Statistics
    head: TaskHead
    model: RecModel
    featurizer: Featurizer
    seed: int
    item_vectors: Tensor | None = None
    """[N, d] where the head's predictor has such."""
    calibration: Calibration | None = None
    """Maps a click's probability as `lorarec calibrate` fitted it; None where it has not been called."""
    sample: list[tuple[str, float]] = field(default_factory=list)
    """A history (item id, feedback) from the test part, right after training; empty in a loaded run."""
    _table: Tensor | None = None

    def __post_init__(self) -> None:
        if self.item_vectors is not None:  # beside the users' vectors, which the model makes
            self.item_vectors = self.item_vectors.to(self._device)

    @cached_property
    def predictor(self) -> Predictor:
        """How the run answers."""
        return self.head.predictor(self.head)

    @torch.inference_mode()
    def predict(
        self,
        items: Sequence[str],
        histories: Sequence[Sequence[str]] | None = None,
        feedback: Sequence[Sequence[float]] | None = None,
        users: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> np.ndarray:
        """[n] answers about (history, item) pairs: stars, probabilities, a next-item head's dot products, or whatever
        the head's predictor gives.

        `histories`: item ids of each user, oldest first; `feedback`: stars or clicks beside them; `users`: what is
        known of each, {"age": 24}, where the backbone's templates name it ({user.age}); a column that is not given, or
        None for a user, reads as nothing. Ids that are not known are named in an UnknownIdWarning: a history is read
        without them, and an unknown item's score is NaN.
        """
        rows = item_rows(items, self.catalog)
        scores = self.predictor.nothing(len(rows))
        known = np.flatnonzero(rows >= 0)
        requests = self._requests(len(rows), histories, feedback, users)
        if len(known):
            scores[known] = self._calibrated(self.predictor.answer(self, requests.about(known, rows[known])))
        return scores

    @torch.inference_mode()
    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        feedback: Sequence[Sequence[float]] | None = None,
        users: Sequence[Mapping[str, Any] | None] | None = None,
        candidates: Sequence[str] | None = None,
        exclude_seen: bool = True,
        approximate: bool = False,
        diversify: float = 0.0,
    ) -> list[list[Recommendation]]:
        """The best k items for each history, best first; items of the history are left out unless asked for.

        `feedback` and `users` are as in `predict`; `candidates` narrows the catalog. Fewer than k come back where
        there are not that many.

        `diversify` weighs how unlike each other a list's items are against their scores: 0.3 is a good first try; the
        order is then that in which they were chosen.

        `approximate` asks an index of the item vectors (extra `index`), built at the first such call: it misses an
        item now and then, and pays where many calls are to come on 100,000 items or more. Scores are exact all the
        same.
        """
        _check_list_settings(k, candidates, approximate, diversify)
        requests = self._requests(len(histories), histories, feedback, users)
        if approximate:
            lists = self.predictor.approximate(self, requests, k, exclude_seen)
        else:
            among, wanted = candidates_of(candidates, self.catalog), pool_size(k) if diversify else k
            lists = self.predictor.recommend(self, requests, among, wanted, exclude_seen)
        answers = []
        for rows, scores in lists:
            answers += self._named(*(self._diversified(rows, scores, k, diversify) if diversify else (rows, scores)))
        return answers

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """[N, d] what items are compared by: the head's item vectors without a bias, else the backbone's of their
        texts."""
        vectors = self.predictor.run_likeness(self)
        return self.table() if vectors is None else vectors

    @torch.no_grad()
    def table(self) -> Tensor:
        """[N, D] the catalog as the adapted backbone reads it, encoded once."""
        return self._items(self._examples(self._requests(1, [[]], None, None)))

    @property
    def user_columns(self) -> tuple[str, ...]:
        """What the backbone reads of a user, by the names of the users' table that it was trained with."""
        return self.model.backbone.user_columns()

    @property
    def weights(self) -> Head:
        """For the predictor: the head's weights."""
        return self.model.head

    def answers(self, requests: Requests, method: str, size: int) -> Tensor:
        """For the predictor: what a method of the head says of the requests, so many in a batch."""
        examples = self._examples(requests)
        if self._table is None and examples.reads_items():
            self._items(examples)
        if self._table is not None:
            examples = examples.with_table()
        asked = AskedModel(self.model)
        return torch.cat([asked.answer(examples.batch(rows), method, self._table) for rows in examples.blocks(size)])

    def _items(self, examples: Examples) -> Tensor:
        """[N, D] the item table, encoded once."""
        if self._table is None:
            self._table = encoded_catalogue(encoder_of(self.model), examples.collation, self._device)
        return self._table

    def _examples(self, requests: Requests) -> Examples:
        collation = Collation(
            interactions=requests.events,
            histories=requests.histories,
            featurizer=self.featurizer,
            negatives=NegativeSampler(self.seed, len(self.catalog)),
            catalog_size=len(self.catalog),
            training=False,
            users=requests.users,
            catalog=self.catalog,
        )
        return Examples(self.head.requests(requests), self.head, collation)

    def _diversified(self, rows_BP: Tensor, scores_BP: Tensor, k: int, weight: float) -> tuple[Tensor, Tensor]:
        chosen = diversified(rows_BP, scores_BP, self.vectors().to(scores_BP.device), k, weight)
        return rows_BP.gather(1, chosen), scores_BP.gather(1, chosen)

    def _named(self, rows_BK: Tensor, scores_BK: Tensor) -> list[list[Recommendation]]:
        """Catalog rows as items; row -1 is none."""
        # Calibrated last: an isotonic map makes scores equal, and the catalog's order would decide.
        rows, scores = rows_BK.cpu().numpy(), self._calibrated(scores_BK.cpu().numpy())
        distinct = np.unique(rows[rows >= 0]).tolist()
        titles = dict(zip(distinct, self.catalog.titles(distinct), strict=True))
        ids = self.catalog.ids
        return [
            [Recommendation(ids[row], titles[row], score) for row, score in zip(*one_list, strict=True) if row >= 0]
            for one_list in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _calibrated(self, scores: np.ndarray) -> np.ndarray:
        return scores if self.calibration is None else self.calibration(scores.astype(np.float64))

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _requests(
        self,
        count: int,
        histories: Sequence[Sequence[str]] | None,
        feedback: Sequence[Sequence[float]] | None,
        users: Sequence[Mapping[str, Any] | None] | None,
    ) -> Requests:
        return requests_of(
            count,
            histories,
            feedback,
            users,
            catalog=self.catalog,
            liked_above=self.statistics.liked_above,
            user_columns=self.user_columns,
        )


def _check_list_settings(k: int, candidates: Sequence[str] | None, approximate: bool, diversify: float) -> None:
    if k < 1:
        raise DataError(f"k is {k}: ask for at least one item.")
    if not 0 <= diversify <= 1:
        raise DataError(f"diversify is {diversify:g}: give a weight between 0 (by score alone) and 1.")
    if approximate and diversify:
        raise DataError("diversify chooses from the exact scores: leave approximate out.")
    if approximate and candidates is not None:
        raise DataError("approximate searches the whole catalog: leave it out where candidates are named.")


def list_rows(answers: Sequence[Sequence[Recommendation]], catalog: Catalog, k: int) -> np.ndarray:
    """[n, k] int64 catalog rows of recommended lists, -1 behind the end of a list that is shorter."""
    lists = np.full((len(answers), k), -1)
    for row, answer in zip(lists, answers, strict=True):
        row[: len(answer)] = [catalog.rows[recommendation.item] for recommendation in answer]
    return lists
