"""Click-through rate: the probability that a user will like, click or choose an item."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from datasets import Dataset

from lorarec.contracts import (
    Batch,
    Collation,
    DataError,
    Histories,
    Interactions,
    PairPredictor,
    Part,
    Statistics,
    TaskHead,
    hookimpl,
)
from lorarec_heads.contests import contests, facts_of_contests
from lorarec_heads.ctr_network import CtrNetwork
from lorarec_heads.ctr_settings import CtrSettings
from lorarec_heads.fact_groups import fact_examples
from lorarec_heads.history_targets import before_targets, with_history_targets
from lorarec_heads.item_quality import SHARES, with_shares
from lorarec_heads.padded_history import Distinct, PaddedHistory, distinct_views, pair_views
from lorarec_heads.sampled_clicks import candidates_of, sampled_examples


class Ctr(TaskHead):
    """Binary cross entropy on clicks, given ones or chosen against sampled items."""

    name = "ctr"
    summary = "probability of a click or a like, from text and history"
    paper = "Attention over the history after Deep Interest Network, Zhou et al., KDD 2018"
    predictor = PairPredictor
    default_metrics = ("auc", "log_loss")

    class Config(CtrSettings):
        """Settings of the click-through-rate head."""

    config: Config

    def needs(self) -> frozenset[str]:
        """Clicks, unless items are drawn to tell them apart from."""
        return frozenset() if self.config.negatives else frozenset({"click"})

    def reads_feedback(self, views: bool) -> bool:
        """Unless items are drawn: histories are then what was chosen, and start to count as such."""
        return not self.config.negatives and (views or self.config.encoding == "separate")

    def item_columns(self) -> tuple[str, ...]:
        """Those of the recipe."""
        return self.config.item_columns

    def label(self) -> str:
        """Clicks: the data's, or made by drawing items beside them."""
        return "click"

    def check_labels(self, labels: np.ndarray, rows: np.ndarray) -> None:
        """Raise DataError naming the first row whose click is neither 0 nor 1, or if all are the same."""
        wrong = np.flatnonzero((labels != 0) & (labels != 1))
        if len(wrong):
            raise DataError(
                f"Row {rows[wrong[0]]}, 'click': {labels[wrong[0]]:g} is neither 0 nor 1 ({len(wrong)} such "
                f"rows). Give "
                "clicks as 0 and 1; for stars use head 'rating'."
            )
        if len(labels) > 1 and np.all(labels == labels[0]):
            raise DataError(
                f"All {len(labels)} values of 'click' are {labels[0]:g}: there is nothing to tell apart. "
                f"Where the data "
                "holds clicks alone, leave out data.columns.click and set head.negatives=4."
            )

    def examples(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        """One fact a row: an event, with `negatives` also each item drawn beside it (column `draw`), in training with
        `history_targets` also events of the histories (column `ago`); with losses of ranking one contest a row."""
        found = self._facts(interactions, histories, part)
        if part != Part.TRAIN or not len(found):
            return found
        if self.config.compares:
            events = np.asarray(found.with_format("numpy")["event"])
            if not self.config.negatives:
                _refuse_weights_of_losers(found, interactions)
            found = contests(found, events if self.config.negatives else interactions.user[events], self.config.rivals)
        return with_shares(found, interactions) if self.config.history_model == "ridge" else found

    def _facts(self, interactions: Interactions, histories: Histories, part: Part) -> Dataset:
        if not self.config.negatives:
            facts = fact_examples(interactions, part, "click", 1)
            if self.config.history_targets and part == Part.TRAIN:
                return with_history_targets(facts, interactions, histories, self.config.max_history)
            return facts
        if interactions.has("click"):
            raise DataError(
                "head.negatives draws items that were not clicked, but the data has the column 'click', "
                "which says so "
                "itself. Set head.negatives=0, or leave out data.columns.click and the rows without a click."
            )
        return sampled_examples(interactions, part, self.config.negatives)

    def collate(self, rows: dict[str, np.ndarray], collation: Collation) -> Batch:
        """Distinct items, or pairs, as views; tensors of F facts (B, or with losses of ranking those of B contests):
        places of candidates, histories and their items, likes, clicks."""
        config, targets = self.config, rows["event"]  # a contest is about what was liked
        if collation.training and config.compares:
            rows = facts_of_contests(rows, config.rivals)
        events = rows["event"]
        if "ago" in rows:
            history, owner = PaddedHistory.of(collation.histories, events, config.max_history), np.arange(len(events))
            history = history.only(before_targets(rows["ago"], history.mask))
        else:
            history, owner = PaddedHistory.shared(collation.histories, events, config.max_history)
        candidates = self.items(rows, collation)
        distinct = Distinct.of(candidates, history.items)
        tensors = {
            "items": torch.from_numpy(distinct.items),
            "candidate": distinct.places[0],
            "history": distinct.places[1],
            "owner": torch.from_numpy(owner),
            "mask": torch.from_numpy(history.mask),
            "liked": torch.from_numpy(history.liked(collation.histories.liked_above)),
        }
        if collation.training:
            tensors["labels"] = torch.from_numpy(rows["label"].astype(np.float32))
            tensors |= {name: torch.from_numpy(rows[name].astype(np.float32)) for name in SHARES if name in rows}
        if config.encoding == "separate":
            views = {"items": collation.item_views(distinct.items)}
        else:
            pairs, tensors["pair"] = distinct_views(pair_views(history, owner, candidates, events, collation))
            views = {"pairs": collation.views(pairs)}
        return Batch(torch.from_numpy(rows["row"]), len(targets), views, tensors, events=targets)

    def items(self, rows: dict[str, np.ndarray], collation: Collation) -> np.ndarray:
        """The event's item, that of the column `item`, or one drawn."""
        chosen = super().items(rows, collation)
        return candidates_of(rows, chosen, self.config.negatives, collation) if "draw" in rows else chosen

    def build(self, hidden_size: int, statistics: Statistics) -> CtrNetwork:
        """A network that starts from the signals of the history."""
        return CtrNetwork(self.config, hidden_size, statistics)


def _refuse_weights_of_losers(facts: Dataset, interactions: Interactions) -> None:
    """Raise DataError where a kind that only loses contests is given a weight: nothing would read it."""
    kinds = None if interactions.use is None else interactions.use.kinds
    if kinds is None or not kinds.weights:
        return
    columns = facts.with_format("numpy")[:]
    for index in np.unique(kinds.kind[columns["event"][columns["label"] <= 0]]).tolist():
        if kinds.weights[index] != 1:
            raise DataError(
                f"data.events.weights.{kinds.names[index]}={kinds.weights[index]:g} does nothing here: with losses of "
                "ranking (head.loss), a contest counts by the weight of the row that was liked. Leave it out, or set "
                "head.loss=bce."
            )


@hookimpl
def lorarec_task_heads() -> Iterable[type[TaskHead]]:
    """Click-through rate."""
    return [Ctr]
