"""Recommender: a finished run that answers, with the caller's own ids."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.artifact.answers import Recommendation, UnknownIdWarning
from lorarec.contracts import (
    Candidates,
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
from lorarec.data.users import Users, users_of_requests
from lorarec.errors import DataError
from lorarec.evaluation.calibration import Calibration
from lorarec.model.item_table import encoded_catalogue
from lorarec.model.rec_model import AskedModel, RecModel, encoder_of
from lorarec.prediction.diversity import diversified, pool_size


@dataclass
class Recommender:
    """A trained model with its catalogue. Histories are the caller's: nothing about users is kept.

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
    """Makes of a click's probability what `lorarec calibrate` found; None where it was not asked."""
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
        rows = np.array([self.catalog.rows.get(str(item), -1) for item in items], np.int64)
        self._tell("items to score", [str(i) for i, row in zip(items, rows, strict=True) if row < 0], "get no score")
        answers = self.predictor.nothing(len(rows))
        known = np.flatnonzero(rows >= 0)
        requests = self._requests(histories, feedback, users, len(rows))
        if len(known):
            found = self.predictor.answer(self, requests.about(known, rows[known]))
            answers[known] = self._calibrated(found)
        return answers

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

        `feedback` and `users` are as in `predict`; `candidates` narrows the catalogue. Fewer than k come back where
        there are not that many.

        `diversify` weighs how unlike each other a list's items are against their scores: 0.3 is a good first try; the
        order is then that in which they were chosen.

        `approximate` asks an index of the item vectors, which is built at the first such call and kept in memory: it
        misses an item now and then, and pays where many calls are to come on a catalogue of 100,000 items or more. It
        is for heads with item vectors, without `candidates`, and needs faiss (extra `index`). Scores are exact all the
        same.
        """
        if k < 1:
            raise DataError(f"k is {k}: ask for at least one item.")
        if not 0 <= diversify <= 1:
            raise DataError(f"diversify is {diversify:g}: give a weight between 0 (by score alone) and 1.")
        if approximate and diversify:
            raise DataError("diversify chooses from the exact scores: leave approximate out.")
        requests = self._requests(histories, feedback, users, len(histories))
        if approximate:
            if candidates is not None:
                raise DataError("approximate searches the whole catalogue: leave it out where candidates are named.")
            found = self.predictor.approximate(self, requests, k, exclude_seen)
        else:
            among = Candidates(self._candidate_rows(candidates), len(self.catalog))
            wanted = pool_size(k) if diversify else k
            found = self.predictor.recommend(self, requests, among, wanted, exclude_seen)
        answers: list[list[Recommendation]] = []
        for rows, best in found:
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
        found = self.predictor.run_likeness(self)
        return self.table() if found is None else found

    @torch.no_grad()
    def table(self) -> Tensor:
        """[N, D] the catalogue as the adapted backbone reads it, encoded once."""
        return self._items(self._examples(self._requests([[]], None, None, 1)))

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

    def _calibrated(self, scores: np.ndarray) -> np.ndarray:
        return scores if self.calibration is None else self.calibration(scores.astype(np.float64))

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _requests(
        self,
        histories: Sequence[Sequence[str]] | None,
        feedback: Sequence[Sequence[float]] | None,
        users: Sequence[Mapping[str, Any] | None] | None,
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
        return Requests.of(rows, numbers, None, self.statistics.liked_above, self._users(users, count))

    def _users(self, users: Sequence[Mapping[str, Any] | None] | None, count: int) -> Users | None:
        """What is known of the users, where the backbone reads it; nothing of one who is not described."""
        if not self.user_columns:
            if users is not None:
                raise DataError("users: this run reads nothing of its users but their histories. Leave it out.")
            return None
        for user in users or ():
            if not (user is None or isinstance(user, Mapping)):
                named = ", ".join(f"'{name}': ..." for name in self.user_columns)
                raise DataError(
                    f"users: {user!r} is not what is known of a user, and a run keeps nothing of the users it learned "
                    f"from. Give each one's columns, {{{named}}}, or None."
                )
        return users_of_requests([None] * count if users is None else users, self.user_columns)

    def _tell(self, what: str, ids: list[str], consequence: str) -> None:
        names = list(dict.fromkeys(ids))
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            message = f"{len(names)} unknown {what} {consequence}: {', '.join(names[:5])}{more}."
            warnings.warn(message, UnknownIdWarning, stacklevel=3)
