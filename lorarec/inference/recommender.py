"""Recommender: predictions and recommendations of a finished run, with the caller's own ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lorarec.artifact.reader import using
from lorarec.config.recipe import Seen
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
from lorarec.errors import ArtifactError, DataError
from lorarec.evaluation.calibration import Calibration
from lorarec.inference.arguments import Asked, asked, id_texts
from lorarec.inference.request_format import USUAL, RequestFormat
from lorarec.inference.requests import candidates_of, item_rows, requests_of
from lorarec.model.encoded_catalog import encoded_on_one_process
from lorarec.model.rec_model import AskedModel, RecModel, encoder_of
from lorarec.prediction.diversity import diversified, pool_size
from lorarec.registry.faults import plugin_faults


class Recommendation(NamedTuple):
    """One item recommended."""

    item: str
    title: str
    score: float


@dataclass
class Recommender:
    """A trained model with its catalog. Histories are given by the caller; nothing about users is stored.

    This class translates ids and checks arguments; the head's predictor computes the answers.
    """

    path: Path
    metrics: dict[str, Any]
    catalog: Catalog
    statistics: Statistics
    head: TaskHead
    model: RecModel
    featurizer: Featurizer
    seed: int
    seen: Seen = "mask"
    """Whether `recommend` leaves the items of a history out by default: `evaluate.seen` of the run's recipe."""
    item_vectors: Tensor | None = None
    """[N, d], if the head's predictor has item vectors."""
    calibration: Calibration | None = None
    """Maps click probabilities, as fitted by `lorarec calibrate`; None if the run is not calibrated."""
    request_format: RequestFormat = USUAL
    """How requests may be written in addition to lorarec's own names and spellings."""
    sample: list[tuple[str, float]] = field(default_factory=list)
    """A history (item id, feedback) from the test part, right after training; empty in a loaded run."""
    _table: Tensor | None = None

    def __post_init__(self) -> None:
        if self.item_vectors is not None:  # on the device of the user vectors, which the model computes
            self.item_vectors = self.item_vectors.to(self._device)

    @cached_property
    def predictor(self) -> Predictor:
        """The head's predictor."""
        return self.head.predictor(self.head)

    @torch.inference_mode()
    def predict(
        self,
        items: Any,
        histories: Any = None,
        feedback: Any = None,
        users: Any = None,
    ) -> np.ndarray:
        """[n] predictions for (history, item) pairs: stars, probabilities, dot products of a next-item head, or what
        the head's predictor returns.

        `items`: n ids; `histories`: item ids of each user, oldest first; `feedback`: the stars or clicks of these
        items; `users`: attributes of each user, such as {"age": 24}, if the backbone's templates name them
        ({user.age}); a missing column, or None for a user, is read as empty. Each may be a list, an array, a Series or
        a generator. `items` may also be a table (DataFrame, Dataset, Arrow table, dict of columns) with the columns of
        a request file: item, history, history_feedback, user.NAME.

        If the run learned from feedback, items of histories without any are read as liked, which a
        MissingFeedbackWarning says.

        Ids are text; 7 is read as "7". Unknown ids are named in an UnknownIdWarning: they are left out of histories,
        and the score of an unknown item is NaN. Raises DataError naming argument and row of what cannot be read.
        """
        items = self.request_format.named(items)
        given = self._asked(items, histories, feedback, users)
        rows = item_rows(id_texts(items, "items"), self.catalog)
        scores = self.predictor.nothing(len(rows))
        known = np.flatnonzero(rows >= 0)
        requests = self._requests(len(rows), *given)
        if len(known):
            with self._refusals():
                answers = self._finite(self.predictor.answer(self, requests.about(known, rows[known])))
                scores[known] = self._calibrated(answers)
        return scores

    @torch.inference_mode()
    def recommend(
        self,
        histories: Any,
        k: int = 10,
        feedback: Any = None,
        users: Any = None,
        candidates: Any = None,
        seen: Seen | None = None,
        approximate: bool = False,
        diversify: float = 0.0,
    ) -> list[list[Recommendation]]:
        """The best k items for each history, best first.

        `seen`: mask leaves the items of the history out, keep ranks them like all others; by default, as the run was
        evaluated (`evaluate.seen`). `feedback` and `users` are as in `predict`, and `histories` may be a table as
        `items` there; `candidates` restricts the catalog. Fewer than k items are returned if there are not enough.

        `diversify` is the weight of dissimilarity within a list against the scores; start with 0.3. The items are then
        in the order in which they were chosen.

        `approximate` searches an index of the item vectors (extra `index`), built at the first such call. It may miss
        an item, and is worth it for many calls on 100,000 items or more. Scores are still exact.
        """
        exclude_seen = (self.seen if seen is None else seen) == "mask"
        _check_list_settings(k, candidates, seen, approximate, diversify)
        k = min(int(k), len(self.catalog))
        given = self._asked(histories, histories, feedback, users)
        if given.histories is None:
            raise DataError("histories: None is not a list. Give a list of ids for each user: [['a', 'b'], ['c']].")
        requests, among = self._requests(len(given.histories), *given), self._candidates(candidates)
        answers = []
        with self._refusals():
            if approximate:
                lists = self.predictor.approximate(self, requests, k, exclude_seen)
            else:
                lists = self.predictor.recommend(self, requests, among, pool_size(k) if diversify else k, exclude_seen)
            for each in lists:
                answers += self._named(*(self._diversified(*each, k, diversify) if diversify else each))
        return answers

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """[N, d] vectors for item similarity: the head's item vectors without the bias if it has any, else the
        backbone's encodings of the item texts."""
        with self._refusals():
            vectors = self.predictor.run_similarity_vectors(self)
            return self.table() if vectors is None else vectors

    @torch.no_grad()
    def table(self) -> Tensor:
        """[N, D] the catalog encoded by the adapted backbone, computed once."""
        with self._refusals():
            return self._items(self._examples(self._requests(1, [[]], None, None)))

    @property
    def user_columns(self) -> tuple[str, ...]:
        """The user columns that the backbone reads, by their names in the training data."""
        return self.model.backbone.user_columns()

    @property
    def weights(self) -> Head:
        """For the predictor: the head's weights."""
        return self.model.head

    def answers(self, requests: Requests, method: str, size: int) -> Tensor:
        """For the predictor: the output of a method of the head for the requests, in batches of `size`."""
        examples = self._examples(requests)
        if self._table is None and examples.reads_items():
            self._items(examples)
        if self._table is not None:
            examples = examples.with_items_encoded()
        asked = AskedModel(self.model)
        return torch.cat([asked.answer(examples.batch(rows), method, self._table) for rows in examples.blocks(size)])

    def _asked(self, first: Any, histories: Any, feedback: Any, users: Any) -> Asked:
        """The arguments of a call as plain lists; tables may have the names of the training data."""
        first, histories, feedback = (self.request_format.named(table) for table in (first, histories, feedback))
        decimal, missing = self.request_format.options.decimal, self.request_format.missing
        return asked(first, histories, feedback, users, self.user_columns, self._item_ids, decimal, missing)

    def _candidates(self, candidates: Any) -> Candidates:
        """The items to choose from, given as an argument; None is the whole catalog."""
        if candidates is not None:
            candidates = id_texts(self.request_format.named(candidates), "candidates", ordered=False)
        return candidates_of(candidates, self.catalog)

    def _items(self, examples: Examples) -> Tensor:
        """[N, D] the item table, computed once."""
        if self._table is None:
            self._table = encoded_on_one_process(encoder_of(self.model), examples.collation, self._device)
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
        """Recommendations from catalog rows; row -1 is padding."""
        # Calibrated last: an isotonic map creates ties, which the catalog's order would break.
        rows, scores = rows_BK.cpu().numpy(), scores_BK.cpu().numpy()
        self._finite(scores[rows >= 0])
        scores = self._calibrated(scores)
        distinct = np.unique(rows[rows >= 0]).tolist()
        titles = dict(zip(distinct, self.catalog.titles(distinct), strict=True))
        ids = self.catalog.ids
        return [
            [Recommendation(ids[row], titles[row], score) for row, score in zip(*one_list, strict=True) if row >= 0]
            for one_list in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _finite(self, scores: np.ndarray) -> np.ndarray:
        if np.issubdtype(scores.dtype, np.floating) and not np.isfinite(scores).all():
            raise ArtifactError(
                f"{self.path}: its scores are infinite, so its weights are not those of a trained model. Restore the "
                "files, or train the run again."
            )
        return scores

    def _calibrated(self, scores: np.ndarray) -> np.ndarray:
        return scores if self.calibration is None else self.calibration(scores.astype(np.float64))

    @property
    def _item_ids(self) -> list[pa.ChunkedArray]:
        return [self.catalog.table.data.column("item")]

    @property
    def _learned_feedback(self) -> bool:
        """Whether the head's answers depend on the feedback of histories."""
        reads = self.head.reads_feedback(self.model.backbone.reads_feedback)
        return reads or self.head.label() in self.head.needs()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the run's files or plugins do wrong in the block is one message."""
        with using(self.path), plugin_faults((self.head, self.model.adapter, self.model.backbone)):
            yield

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
            liked_feedback=self.statistics.liked_feedback if self._learned_feedback else None,
        )


def _check_list_settings(k: int, candidates: Any, seen: str | None, approximate: bool, diversify: float) -> None:
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise DataError(f"k is {k!r}, but must be a whole number, at least 1.")
    if seen not in (None, *get_args(Seen)):
        raise DataError(f"seen is {seen!r}: say 'mask', which leaves the items of a history out, or 'keep'.")
    if isinstance(diversify, bool) or not isinstance(diversify, Real) or not 0 <= diversify <= 1:
        raise DataError(f"diversify is {diversify!r}: give a weight between 0 (by score only) and 1.")
    if approximate and diversify:
        raise DataError("diversify needs exact scores: leave approximate out.")
    if approximate and candidates is not None:
        raise DataError("approximate searches the whole catalog: leave it out if candidates are given.")


def list_rows(answers: Sequence[Sequence[Recommendation]], catalog: Catalog, k: int) -> np.ndarray:
    """[n, k] int64 catalog rows of recommended lists, padded with -1."""
    lists = np.full((len(answers), k), -1)
    for row, answer in zip(lists, answers, strict=True):
        row[: len(answer)] = [catalog.rows[recommendation.item] for recommendation in answer]
    return lists
