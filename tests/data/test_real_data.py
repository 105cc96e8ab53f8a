"""The data layer on MovieLens 100K and TALLRec's movie rows, against published and independently computed
numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from datasets import Dataset

from lorarec.config.recipe import DataSection
from lorarec.data.interactions import Part
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables

Shared = Callable[[str], Dataset]
COLUMNS = {"user": "user_id", "item": "item_id", "time": "timestamp"}


@pytest.fixture
def last_out(shared_table: Shared) -> PreparedData:
    raw = RawTables(
        shared_table("ml-100k/ratings.parquet"),
        shared_table("ml-100k/items.parquet"),
        columns=COLUMNS,
        item_text="{title} ({genres})",
        origin="ratings.parquet",
    )
    section = DataSection(source="movielens", split={"by": "last"})
    return prepare(raw, Wanted(needs=frozenset({"time"})), section, 13)


def test_last_out_is_leave_one_out_by_timestamp_with_file_order_on_ties(
    last_out: PreparedData, shared_table: Shared
) -> None:
    frame = shared_table("ml-100k/ratings.parquet").to_pandas().reset_index()
    frame = frame.sort_values(["timestamp", "index"])
    test = frame.groupby("user_id").nth(-1)["index"]
    validation = frame.groupby("user_id").nth(-2)["index"]
    assert sorted(test) == last_out.interactions.rows(Part.TEST).tolist()
    assert sorted(validation) == last_out.interactions.rows(Part.VALIDATION).tolist()


def test_popularity_on_movielens_reaches_its_published_numbers(last_out: PreparedData) -> None:
    """HR@10 .0859 and NDCG@10 .0449 over the whole catalog, seen items masked, ties by catalog order."""
    popularity = last_out.statistics.item_counts.astype(float)
    hits = gain = 0.0
    events = last_out.interactions.rows(Part.TEST)
    for event in events:
        scores = popularity.copy()
        scores[last_out.histories.seen(int(event))] = -1
        target = last_out.interactions.item[event]
        rank = (scores > scores[target]).sum() + (scores[:target] == scores[target]).sum()
        hits += rank < 10
        gain += 1 / np.log2(rank + 2) if rank < 10 else 0.0
    assert round(hits / len(events), 4) == 0.0859
    assert round(gain / len(events), 4) == 0.0449


def test_the_official_u1_test_rows_are_kept_to_the_row(shared_table: Shared) -> None:
    ratings = shared_table("ml-100k/ratings.parquet")
    section = DataSection(
        source="movielens", split={"by": "column", "column": "u1_test"}, history={"scope": "training"}
    )
    raw = RawTables(ratings, columns=COLUMNS, origin="ratings.parquet")
    made = prepare(raw, Wanted(label="rating", needs=frozenset({"rating"})), section, 13)
    assert ((made.interactions.part == Part.TEST) == np.array(ratings["u1_test"][:])).all()
    assert made.report.parts == {"train": 72_000, "validation": 8_000, "test": 20_000}
    base = np.array(ratings["rating"][:])[made.interactions.part == Part.TRAIN]
    assert made.statistics.label_mean == pytest.approx(base.mean())


def test_tallrec_rows_bring_their_ten_titles(shared_table: Shared) -> None:
    rows = shared_table("tallrec-movie/rows.parquet")
    columns = {**COLUMNS, "history": "history_item_id", "history_feedback": "history_liked", "click": "liked"}
    section = DataSection(source="files", split={"by": "column"})
    raw = RawTables(rows, columns=columns, origin="rows.parquet")
    made = prepare(raw, Wanted(label="click", needs=frozenset({"click"})), section, 13)
    assert made.report.parts == {"train": 8_000, "validation": 1_000, "test": 1_000}
    assert (made.report.history_min, made.report.history_max) == (10, 10)
    for event in (0, 4_321, 9_999):
        history = made.histories.before(event)
        assert [int(made.catalog.ids[row]) for row in history.items] == rows[event]["history_item_id"]
        assert list(made.histories.liked(history.feedback)) == rows[event]["history_liked"]
    train = np.array(rows["liked"][:])[:8_000]
    assert made.statistics.label_mean == pytest.approx(train.mean())
