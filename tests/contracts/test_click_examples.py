"""Examples of clicks: who is compared with whom, and events of histories as targets, none that validation or test asks
about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from lorarec.config.recipe import DataSection
from lorarec.contracts import ClickTask, Collation, DataError, NegativeSampler, PairHead, Part, Statistics
from lorarec.contracts.click_examples import pairwise_groups, ungrouped
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables
from lorarec.testing import made

EXAMPLES = Dataset.from_dict({"event": [0, 1, 2, 3, 4, 5], "label": [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]})
OWNER = np.array([7, 7, 7, 8, 8, 9])
ROWS: dict[str, list[Any]] = {
    "user": ["a", "a", "b", "a"],
    "item": ["d", "e", "x", "f"],
    "history": [["a", "b", "c"], ["b", "c", "d"], ["a", "f", "d"], ["x", "y", "z"]],
    "history_feedback": [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]],
    "click": [1.0, 0.0, 1.0, 0.0],
    "split": ["train", "train", "train", "test"],
}
"""Windows of two users, oldest first."""


class Clicks(ClickTask):
    """A task of the class without a network."""

    name = "clicks"
    summary = "a task without a network"

    def build(self, hidden_size: int, statistics: Statistics) -> PairHead:
        raise NotImplementedError


def prepared(rows: dict[str, list[Any]]) -> PreparedData:
    section = DataSection(source="files", split={"by": "column", "validation": 0.0})
    raw = RawTables(Dataset.from_dict(rows), origin="rows")
    return prepare(raw, Wanted(label="click", needs=frozenset({"click"})), section, 13)


def targets(rows: dict[str, list[Any]], **options: Any) -> list[tuple[str, str, float, tuple[str, ...]]]:
    """(user, item, label, history) of each training example, as the head's batch has them."""
    data, head = prepared(rows), made(Clicks, history_targets=True, **options)
    found = head.examples(data.interactions, data.histories, Part.TRAIN).with_format("numpy")[:]
    collation = Collation(
        data.interactions, data.histories, lambda views: {"n": torch.zeros(len(views), 1)}, NegativeSampler(0, 9),
        len(data.catalog), training=True,
    )  # fmt: skip
    collation.featurizer.length = lambda view: 1  # type: ignore[attr-defined]
    batch = head.collate({**found, "row": np.arange(len(found["event"]))}, collation)
    names = [data.catalog.ids[row] for row in batch.tensors["items"].tolist()]
    users = [data.interactions.user_ids[user] for user in data.interactions.user[found["event"]]]
    told = []
    for fact, user in enumerate(users):
        mask, places = batch.tensors["mask"][fact].tolist(), batch.tensors["history"][fact].tolist()
        history = tuple(names[place] for place, there in zip(places, mask, strict=True) if there)
        told.append((user, names[batch.tensors["candidate"][fact]], float(batch.tensors["labels"][fact]), history))
    return told


def test_each_event_of_a_history_is_a_target_once_with_all_that_came_before_it() -> None:
    assert targets(ROWS) == [
        ("a", "d", 1.0, ("a", "b", "c")),
        ("a", "e", 0.0, ("b", "c", "d")),
        ("b", "x", 1.0, ("a", "f", "d")),
        ("a", "a", 1.0, ()),
        ("a", "b", 0.0, ("a",)),
        ("a", "c", 1.0, ("a", "b")),
        ("b", "a", 1.0, ()),
        ("b", "f", 0.0, ("a",)),
        ("b", "d", 0.0, ("a", "f")),
    ]


def test_what_a_held_out_row_asks_of_the_same_user_is_no_target() -> None:
    leaky = {**ROWS, "user": ["a", "a", "a", "a"]}
    assert ("a", "f") not in {(user, item) for user, item, *_ in targets(leaky)}
    assert ("b", "f") in {(user, item) for user, item, *_ in targets(ROWS)}


def test_no_event_of_a_held_out_rows_history_is_a_target() -> None:
    assert not {"y", "z"} & {item for _, item, *_ in targets(ROWS)}


def test_only_the_latest_events_that_the_head_looks_at_are_targets() -> None:
    first = {(user, item): history for user, item, _, history in targets(ROWS, max_history=2)}
    assert ("a", "a") not in first and first["a", "c"] == ("b",)


def test_histories_sorted_by_what_was_liked_are_refused() -> None:
    rows: dict[str, list[Any]] = {
        "item": ["x"] * 9 + ["y"],
        "history": [["a", "b", "c"]] * 10,
        "history_feedback": [[1.0, 1.0, 0.0]] * 10,
        "click": [0.0, 1.0] * 5,
        "split": ["train"] * 9 + ["test"],
    }
    with pytest.raises(DataError, match="not in the order of time"):
        targets(rows)


def test_data_without_labelled_histories_are_refused() -> None:
    with pytest.raises(DataError, match="all training events are targets already"):
        targets({name: ROWS[name] for name in ("user", "item", "click", "split")})


def test_only_examples_of_one_owner_meet_and_each_takes_part() -> None:
    found = pairwise_groups(EXAMPLES, OWNER, 1)
    met = set(zip(found["event"][:], found["rival1_event"][:], strict=True))
    assert met == {(0, 1), (0, 2), (3, 4)}  # the ninth liked everything


def test_too_few_rivals_come_again() -> None:
    found = pairwise_groups(EXAMPLES, OWNER, 3)
    assert [found[f"rival{n}_event"][:][0] for n in (1, 2, 3)] == [1, 2, 1]


def test_a_batch_lists_each_group_with_the_liked_one_first() -> None:
    found = pairwise_groups(EXAMPLES, OWNER, 1).with_format("numpy")[:]
    flat = ungrouped({**found, "row": np.arange(3)}, 1)
    assert flat["label"].tolist() == [1, 0] * 3 and len(flat["row"]) == 3


def test_nobody_with_both_likes_and_dislikes_is_refused() -> None:
    with pytest.raises(DataError, match=r"head\.loss=bce"):
        pairwise_groups(EXAMPLES, np.arange(6), 1)
