"""Examples of clicks: pairwise groups, and events of histories as targets, without leaks from validation and test."""

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
"""Overlapping histories of two users, oldest event first."""


class Clicks(ClickTask):
    """A click task without a network."""

    name = "clicks"
    summary = "a task without a network"

    def build(self, hidden_size: int, statistics: Statistics) -> PairHead:
        raise AssertionError("these tests build no network")


def prepared(rows: dict[str, list[Any]]) -> PreparedData:
    section = DataSection(source="files", split={"by": "column", "validation": 0.0})
    raw = RawTables(Dataset.from_dict(rows), origin="rows")
    return prepare(raw, Wanted(label="click", needs=frozenset({"click"})), section, 13)


def targets(rows: dict[str, list[Any]], **options: Any) -> list[tuple[str, str, float, tuple[str, ...]]]:
    """(user, item, label, history) of each training example, as the head's batch has them."""
    data, head = prepared(rows), made(Clicks, history_targets=True, **options)
    examples = head.examples(data.interactions, data.histories, Part.TRAIN).with_format("numpy")[:]
    collation = Collation(
        data.interactions, data.histories, lambda views: {"n": torch.zeros(len(views), 1)}, NegativeSampler(0, 9),
        len(data.catalog), training=True,
    )  # fmt: skip
    collation.featurizer.length = lambda view: 1  # type: ignore[attr-defined]
    batch = head.collate({**examples, "row": np.arange(len(examples["event"]))}, collation)
    names = [data.catalog.ids[row] for row in batch.tensors["items"].tolist()]
    users = [data.interactions.user_ids[user].as_py() for user in data.interactions.user[examples["event"]]]
    rows_read = []
    for index, user in enumerate(users):
        mask, indices = batch.tensors["mask"][index].tolist(), batch.tensors["history"][index].tolist()
        history = tuple(names[item] for item, present in zip(indices, mask, strict=True) if present)
        item, label = names[batch.tensors["candidate"][index]], float(batch.tensors["labels"][index])
        rows_read.append((user, item, label, history))
    return rows_read


def test_each_event_of_a_history_is_a_target_once_with_the_events_before_it_as_history() -> None:
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


def test_the_target_of_a_held_out_row_of_the_same_user_is_no_training_target() -> None:
    leaky = {**ROWS, "user": ["a", "a", "a", "a"]}
    assert ("a", "f") not in {(user, item) for user, item, *_ in targets(leaky)}
    assert ("b", "f") in {(user, item) for user, item, *_ in targets(ROWS)}


def test_no_event_of_a_held_out_rows_history_is_a_target() -> None:
    assert not {"y", "z"} & {item for _, item, *_ in targets(ROWS)}


def test_only_the_latest_events_that_the_head_reads_are_targets() -> None:
    first = {(user, item): history for user, item, _, history in targets(ROWS, max_history=2)}
    assert ("a", "a") not in first and first["a", "c"] == ("b",)


def test_histories_sorted_by_feedback_are_refused() -> None:
    rows: dict[str, list[Any]] = {
        "item": ["x"] * 9 + ["y"],
        "history": [["a", "b", "c"]] * 10,
        "history_feedback": [[1.0, 1.0, 0.0]] * 10,
        "click": [0.0, 1.0] * 5,
        "split": ["train"] * 9 + ["test"],
    }
    with pytest.raises(DataError, match="not in the order of time"):
        targets(rows)


def test_data_without_labeled_histories_is_refused() -> None:
    with pytest.raises(DataError, match="all training events are targets already"):
        targets({name: ROWS[name] for name in ("user", "item", "click", "split")})


def test_only_examples_of_one_owner_are_compared_and_each_of_them_is() -> None:
    groups = pairwise_groups(EXAMPLES, OWNER, 1)
    pairs = set(zip(groups["event"][:], groups["compared1_event"][:], strict=True))
    assert pairs == {(0, 1), (0, 2), (3, 4)}  # owner 9 liked everything


def test_too_few_negatives_are_repeated() -> None:
    groups = pairwise_groups(EXAMPLES, OWNER, 3)
    assert [groups[f"compared{n}_event"][:][0] for n in (1, 2, 3)] == [1, 2, 1]


def test_a_batch_lists_each_group_with_the_liked_item_first() -> None:
    groups = pairwise_groups(EXAMPLES, OWNER, 1).with_format("numpy")[:]
    flat = ungrouped({**groups, "row": np.arange(3)}, 1)
    assert flat["label"].tolist() == [1, 0] * 3 and len(flat["row"]) == 3


def test_data_without_a_user_with_both_likes_and_dislikes_is_refused() -> None:
    with pytest.raises(DataError, match=r"head\.loss=bce"):
        pairwise_groups(EXAMPLES, np.arange(6), 1)


def test_groups_of_drawn_negatives_keep_which_one_is_drawn() -> None:
    drawn = Dataset.from_dict({"event": [4, 4, 4], "negative_index": [0, 1, 2], "label": [1.0, 0.0, 0.0]})
    group = pairwise_groups(drawn, np.array([4, 4, 4]), 2).with_format("numpy")[:]
    rows = ungrouped({name: np.asarray(column) for name, column in group.items()} | {"row": np.array([0])}, 2)
    assert rows["negative_index"].tolist() == [0, 1, 2] and rows["label"].tolist() == [1, 0, 0]
