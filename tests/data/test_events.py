"""Kinds of events: a dislike never counts as a like, a shown row never as an event, and every use is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from lorarec.config.recipe import DataSection, EventsSection, PluginChoice, SplitSection
from lorarec.data.audit import audit
from lorarec.data.interactions import Part
from lorarec.data.prepare import PreparedData, Wanted, prepare
from lorarec.data.raw_tables import RawTables
from lorarec.errors import DataError

Prepared = Callable[..., PreparedData]

KINDS = {"positive": ["click", "buy"], "negative": ["return"], "shown": ["view"], "ignore": ["bot"]}
GOOD = ["click", "buy"]
CLICKS = {"label": "click", "needs": frozenset({"click"})}
SPLITS: list[dict[str, Any]] = [{"by": by} for by in ("time", "last", "random", "column")]
TASKS = [{}, {"reads_feedback": True}, CLICKS, {**CLICKS, "reads_feedback": True}]


def drawn(seed: int) -> dict[str, list[Any]]:
    """300 events of 15 users and 12 items at 40 moments, of five kinds, and a part for each."""
    draw = np.random.default_rng(seed)
    return {
        "user": [f"u{n}" for n in draw.integers(0, 15, 300)],
        "item": [f"i{n}" for n in draw.integers(0, 12, 300)],
        "time": draw.integers(0, 40, 300).tolist(),
        "event": draw.choice(["click", "buy", "return", "view", "bot"], 300).tolist(),
        "split": draw.choice(["train", "train", "train", "valid", "test"], 300).tolist(),
    }


def earlier(made: PreparedData, kind: np.ndarray, row: int, kinds: list[str]) -> list[int]:
    """The user's events of these kinds before a row, oldest first, by a plain loop."""
    data = made.interactions
    assert data.time is not None
    own = [e for e in np.flatnonzero(data.user == data.user[row]).tolist() if kind[e] in kinds]
    return sorted((e for e in own if (data.time[e], e) < (data.time[row], row)), key=lambda e: (data.time[e], e))  # type: ignore[index]


@pytest.mark.parametrize("task", TASKS, ids=str)
@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_no_dislike_counts_as_a_like_and_no_shown_row_as_an_event(
    prepared: Prepared, seed: int, split: dict[str, Any], task: dict[str, Any]
) -> None:
    events = drawn(seed)
    made, kind = prepared(events, split=split, events=KINDS, **task), np.array(events["event"])
    data, histories = made.interactions, made.histories
    clicks, feedback = task.get("needs") is not None, task.get("reads_feedback", False)
    for part in (Part.TRAIN, Part.VALIDATION, Part.TEST):
        assert set(kind[data.rows(part)]) <= set(GOOD if not clicks else [*GOOD, "return", "view"])
    if clicks:
        used = data.part != Part.UNUSED
        assert data.column("click")[used].tolist() == np.isin(kind[used], GOOD).tolist()
    train = data.rows(Part.TRAIN)
    liked = train[np.isin(kind[train], GOOD)]
    assert made.statistics.item_counts.tolist() == np.bincount(data.item[liked], minlength=12).tolist()
    assert made.statistics.user_counts.tolist() == np.bincount(data.user[liked], minlength=15).tolist()
    for row in range(len(data)):
        history = histories.before(row)
        assert set(kind[history.events]) <= {*GOOD, *(["return"] if feedback else [])}
        kind_of = dict(zip(histories.liked(history.feedback), kind[history.events], strict=False))
        assert not feedback or {kind_of.get(1, "buy"), kind_of.get(0, "return")} <= {*GOOD, "return"}
        if feedback:
            assert histories.liked(history.feedback) == tuple(np.isin(kind[history.events], GOOD).astype(int).tolist())
        elif clicks:
            assert set(histories.liked(history.feedback)) <= {1}
        else:
            assert set(histories.liked(history.feedback)) <= {-1}, "without feedback, likes are unknown"


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("by", ["time", "last"])
def test_histories_hold_all_likes_and_disliked_items_count_as_seen(prepared: Prepared, by: str, feedback: bool) -> None:
    events = drawn(3)
    made, kind = prepared(events, split={"by": by}, events=KINDS, reads_feedback=feedback), np.array(events["event"])
    had = [*GOOD, "return"]
    for row in np.flatnonzero(kind != "bot").tolist():
        assert made.histories.before(row).events.tolist() == earlier(made, kind, row, had if feedback else GOOD)
        assert made.histories.seen(row).tolist() == made.interactions.item[earlier(made, kind, row, had)].tolist()


def test_rows_of_the_same_time_are_one_request_where_shown_rows_are_targets(prepared: Prepared) -> None:
    events = {
        "user": ["a"] * 6, "item": [1, 2, 3, 4, 5, 6], "time": [1, 2, 2, 2, 3, 4],
        "event": ["click", "click", "view", "view", "click", "click"],
    }  # fmt: skip
    section = {"split": {"by": "last"}, "events": {"positive": ["click"], "shown": ["view"]}}
    made = prepared(events, **section, **CLICKS)
    assert [made.histories.before(row).items.tolist() for row in range(5)] == [[], [0], [0], [0], [0, 1]]
    assert not audit(made.interactions, made.histories, SplitSection(by="last")), "nothing depends on the table's order"
    ranked = prepared(events, **section)
    assert ranked.histories.before(2).items.tolist() == [0, 1], "a sequence has an order"


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("task", [{}, {"reads_feedback": True}])
def test_one_positive_kind_is_the_same_as_no_kinds(
    prepared: Prepared, split: dict[str, Any], task: dict[str, Any]
) -> None:
    events = drawn(1) | {"rating": [1.0, 5.0, 4.0] * 100}
    events["event"] = ["click"] * 300
    kinds = prepared(events, split=split, events={"positive": ["click"]}, **task)
    del events["event"]
    plain = prepared(events, split=split, **task)
    assert plain.interactions.use is None
    assert kinds.interactions.part.tolist() == plain.interactions.part.tolist()
    assert kinds.statistics.item_counts.tolist() == plain.statistics.item_counts.tolist()
    assert kinds.statistics.liked_above == plain.statistics.liked_above == 3.0
    for row in range(300):
        for one, other in zip(kinds.histories.before(row), plain.histories.before(row), strict=True):
            assert np.array_equal(one, other, equal_nan=True)
        assert kinds.histories.seen(row).tolist() == plain.histories.seen(row).tolist()


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_ignored_rows_have_no_effect(prepared: Prepared, split: dict[str, Any]) -> None:
    events = drawn(2)
    kept = [row for row, kind in enumerate(events["event"]) if kind != "bot"]
    alone = {name: [values[row] for row in kept] for name, values in events.items()}
    events["item"] = [
        item if kind != "bot" else None for item, kind in zip(events["item"], events["event"], strict=True)
    ]
    made = prepared(events, split=split, events=KINDS, **CLICKS)
    plain = prepared(alone, split=split, events={**KINDS, "ignore": []}, **CLICKS)
    assert made.interactions.part[kept].tolist() == plain.interactions.part.tolist()
    assert made.catalog.ids == plain.catalog.ids and made.interactions.user_ids == plain.interactions.user_ids
    assert made.statistics.item_counts.tolist() == plain.statistics.item_counts.tolist()
    assert made.report.rows == plain.report.rows == len(kept) and made.report.density == plain.report.density
    for index, row in enumerate(kept):
        assert made.histories.before(row).items.tolist() == plain.histories.before(index).items.tolist()
    ours, theirs = (audit(d.interactions, d.histories, SplitSection(**split)) for d in (made, plain))
    assert [(f.kind, f.rows) for f in ours] == [(f.kind, f.rows) for f in theirs]


def test_rows_are_numbered_as_in_the_file_although_some_are_ignored(prepared: Prepared) -> None:
    events = {"user": ["a", None, "a", None], "item": [1, 2, 3, 4], "event": ["click", "bot", "click", "click"]}
    with pytest.raises(DataError, match=r"column 'user', row 4"):
        prepared(events, events={"positive": ["click"], "ignore": ["bot"]}, split={"by": "last"})


def test_an_answered_shown_row_is_not_a_negative_and_is_counted(prepared: Prepared) -> None:
    rows = [
        ("a", 1, 1, "view"), ("a", 1, 2, "view"), ("a", 1, 3, "click"), ("a", 1, 4, "view"),  # the second is answered
        ("a", 2, 1, "view"), ("b", 2, 2, "click"),  # another user's click
        ("b", 3, 5, "return"), ("b", 3, 5, "view"),  # at equal times, shown comes first
        ("b", 4, 6, "view"), ("b", 5, 7, "click"), ("b", 1, 8, "bot"), ("b", 6, 9, "click"),
    ]  # fmt: skip
    events: dict[str, Any] = dict(
        zip(("user", "item", "time", "event"), map(list, zip(*rows, strict=True)), strict=True)
    )
    made = prepared(events, split={"by": "last"}, events=KINDS | {"positive": ["click"]}, **CLICKS)
    assert np.flatnonzero(made.interactions.part == Part.UNUSED).tolist() == [1, 7, 10]
    assert made.report.dropped == {"shown, and the next event of the same user and item answers it": 2}
    del events["time"]
    untimed = prepared(events, split={"by": "last"}, events=KINDS | {"positive": ["click"]}, **CLICKS)
    assert np.flatnonzero(untimed.interactions.part == Part.UNUSED).tolist() == [1, 10], "the table is the order"


def test_shares_of_a_split_count_targets(prepared: Prepared) -> None:
    events = {
        "user": ["a"] * 40, "item": list(range(40)), "time": list(range(40)),
        "event": ["click"] * 20 + ["view"] * 20,
    }  # fmt: skip
    kinds = {"positive": ["click"], "shown": ["view"]}
    made = prepared(events, split={"by": "time", "validation": 0.1, "test": 0.1}, events=kinds)
    assert made.report.parts == {"train": 16, "validation": 2, "test": 2}
    assert made.report.kinds == (
        {"kind": "click", "meaning": "positive", "train": 16, "validation": 2, "test": 2, "rows": 20,
         "use": "learned from and evaluated, in histories, counted as popularity"},
        {"kind": "view", "meaning": "shown", "train": 0, "validation": 0, "test": 20, "rows": 20,
         "use": "not used by this task"},
    )  # fmt: skip
    last = prepared(events, split={"by": "last"}, events=kinds).interactions.part
    assert np.flatnonzero(last == Part.TEST).tolist() == [19], "the last event that is a target"


def test_the_report_says_what_each_kind_is_used_for(prepared: Prepared) -> None:
    events = drawn(0) | {"rating": [None] * 300}
    lines = "\n".join(prepared(events, events=KINDS, reads_feedback=True, **CLICKS).report.lines())
    assert "(positive): " in lines and " rows, of which train " in lines
    assert "; click 1, in histories as liked, counted as popularity" in lines
    assert "kind 'return' (negative)" in lines and "; click 0, in histories as disliked" in lines
    assert "kind 'view' (shown)" in lines and "kind 'bot' (ignored)" in lines
    assert "column 'rating' is not read: data.events says what was liked and clicked" in lines
    ranked = "\n".join(prepared(events, events=KINDS).report.lines())
    assert "; never a target, in no history, but seen" in ranked and "not used by this task" in ranked


def test_rated_kinds_are_read_by_their_ratings(prepared: Prepared) -> None:
    events = {
        "user": ["a"] * 5, "item": [1, 2, 3, 4, 5], "time": [1, 2, 3, 4, 5],
        "event": ["rate", "view", "rate", "rate", "rate"], "rating": [5, None, 1, 4, 2],
    }  # fmt: skip
    asked = {"label": "rating", "needs": frozenset({"rating"}), "split": {"by": "last"}}
    made = prepared(events, events={"positive": ["rate"], "ignore": ["view"]}, **asked)
    assert made.interactions.rows(Part.TRAIN).tolist() == [0, 2]
    assert made.histories.before(3).feedback.tolist() == [5.0, 1.0]
    with pytest.raises(DataError, match=r"rating.*says itself what was liked.*under data\.events\.ignore"):
        prepared(events, events={"positive": ["rate"], "shown": ["view"]}, **asked)


@pytest.mark.parametrize("own", [None, [2.0, 0.5, 1.0, 1.0, 1.0]])
def test_a_kinds_weight_multiplies_the_weights_of_the_data(prepared: Prepared, own: list[float] | None) -> None:
    events: dict[str, Any] = {
        "user": ["a"] * 5, "item": [1, 2, 3, 4, 5], "event": ["buy", "click", "view", "click", "click"],
    }  # fmt: skip
    columns = {}
    if own is not None:
        events["weight"], columns["weight"] = own, "weight"
    kinds = {"positive": GOOD, "shown": ["view"]}
    made = prepared(
        events, split={"by": "last"}, events=kinds | {"weights": {"buy": 3, "view": 0.1}}, columns=columns, **CLICKS
    )
    expected = np.array(own or [1.0] * 5) * [3, 1, 0.1, 1, 1]
    assert made.interactions.column("weight").tolist() == expected.tolist()
    assert made.report.kinds[0]["use"].endswith(", weight 3")
    if own is None:
        assert not prepared(events, split={"by": "last"}, events=kinds, **CLICKS).interactions.has("weight")
    with pytest.raises(DataError, match=r"data\.events\.weights\.view=0\.1 does nothing here"):
        prepared(events, split={"by": "last"}, events=kinds | {"weights": {"view": 0.1}})
    with pytest.raises(DataError, match="all training rows have weight 0"):
        prepared(events, split={"by": "last"}, events=kinds | {"weights": {"buy": 0, "click": 0}})


def test_duplicates_have_the_same_kind(prepared: Prepared) -> None:
    events = {
        "user": ["a"] * 5, "item": [1, 1, 1, 2, 3], "time": [1, 1, 1, 2, 3],
        "event": ["click", "return", "return", "click", "click"],
    }  # fmt: skip
    made = prepared(events, split={"by": "last"}, events={"positive": ["click"], "negative": ["return"]}, **CLICKS)
    findings = audit(made.interactions, made.histories, SplitSection(by="last"))
    assert [(finding.kind, finding.rows) for finding in findings] == [("duplicate", 1)]


def test_disliked_items_of_training_overlap_with_held_out_items(prepared: Prepared) -> None:
    events = {
        "user": ["a", "a", "b", "b"], "item": [1, 2, 3, 2], "time": [1, 2, 3, 9],
        "event": ["click", "return", "click", "click"], "split": ["train", "train", "train", "test"],
    }  # fmt: skip
    section = SplitSection(by="column", disjoint=("item",), validation=0)
    for feedback, broken in ((True, ["item overlap"]), (False, [])):
        made = prepared(
            events, split=section.model_dump(), events={"positive": ["click"], "negative": ["return"]},
            reads_feedback=feedback,
        )  # fmt: skip
        assert [finding.kind for finding in audit(made.interactions, made.histories, section)] == broken


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, r"column 'event' holds kinds of events \('click' 3, 'view' 2, 'return' 1\).*data\.events="),
    ({}, {"events": {"positive": ["click"], "shown": ["view"]}}, r"does not say what 'return' 1 means"),
    (
        {},
        {"events": {"positive": ["clik"], "shown": ["view"], "negative": ["return"]}},
        r"no row is of the kind 'clik', which data\.events\.positive names\. Did you mean 'click'\?",
    ),
    ({"event": None}, {"events": {"positive": ["click"]}}, r"no column 'event'; name the one"),
    (
        {},
        {"events": {"positive": ["click"], "shown": ["view"]}, "columns": {"event": "evnt"}},
        r"no column 'evnt'.*Did you mean 'event'\?",
    ),
    ({"event": ["click", None, "view", "view", "click", "return"]}, {"events": KINDS}, r"row 2: .*missing"),
    ({"event": ["click", "view", "", "view", "click", "return"]}, {"events": KINDS}, r"row 3: the value is missing"),
    ({"event": [1.5] * 6}, {"events": {"positive": ["1.5"]}}, r"row 1: 1\.5 is not a valid kind of event"),
    (
        {},
        {"events": {"positive": ["click"], "negative": ["return", "view"]}, "liked_above": 3},
        r"data\.liked_above=3 does nothing here",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "section", "message"), REFUSED)
def test_missing_and_contradicting_settings_are_refused(
    prepared: Prepared, columns: dict[str, Any], section: dict[str, Any], message: str
) -> None:
    events = {
        "user": ["a"] * 6, "item": [1, 2, 3, 4, 5, 6], "time": [1, 2, 3, 4, 5, 6],
        "event": ["click", "click", "view", "view", "click", "return"],
    }  # fmt: skip
    given = {name: values for name, values in (events | columns).items() if values is not None}
    with pytest.raises(DataError, match=message):
        prepared(given, split={"by": "last"}, **section)


@pytest.mark.parametrize("name", ["rating", "click"])
def test_a_column_of_likes_is_refused_where_kinds_define_them(name: str) -> None:
    events = Dataset.from_dict({"user": ["a"] * 3, "item": [1, 2, 3], "event": ["click", "return", "click"]})
    section = DataSection(
        source=PluginChoice(name="files"),
        columns={name: "stars"},
        events=EventsSection(positive=("click",), negative=("return",)),
        split=SplitSection(by="last"),
    )
    with pytest.raises(DataError, match=rf"data\.columns\.{name}=stars does nothing here"):
        prepare(RawTables(events, origin="events.csv"), Wanted(), section, 13)


def test_missing_clicks_are_refused_with_both_remedies(prepared: Prepared) -> None:
    events = {"user": ["a"] * 4, "item": [1, 2, 3, 4], "event": ["buy"] * 4}
    with pytest.raises(DataError, match=r"no column 'click'; the task needs it.*data\.events"):
        prepared(events, split={"by": "last"}, events={"positive": ["buy"]}, **CLICKS)


def test_kinds_may_be_numbers_and_have_one_meaning() -> None:
    assert EventsSection(positive=[1, 2], shown=[0]).positive == ("1", "2")  # type: ignore[arg-type, list-item]
    with pytest.raises(ValueError, match="a kind has one meaning, but 'view' is named more than once"):
        EventsSection(positive=("view",), shown=("view",))
    with pytest.raises(ValueError, match=r"weights names 'bye'.*Did you mean 'buy'\?"):
        EventsSection(positive=("buy",), weights={"bye": 3.0})
    with pytest.raises(ValueError, match="at least 1"):
        EventsSection(positive=())


def test_a_column_that_kinds_replace_cannot_be_the_weight_as_well(prepared: Prepared) -> None:
    events = drawn(1) | {"rating": [1.0, 5.0, 4.0] * 100}
    with pytest.raises(DataError, match=r"data\.columns\.weight=rating: the column 'rating' is not read here"):
        prepare(
            RawTables(Dataset.from_dict(events), origin="events.csv"),
            Wanted(),
            DataSection(source=PluginChoice(name="files"), columns={"weight": "rating"}, events=EventsSection(**KINDS)),
            13,
        )
    assert prepared(events, events=KINDS).report.unread == ("rating",)


def test_the_report_counts_each_kind_in_the_final_parts_of_its_rows(prepared: Prepared) -> None:
    made = prepared(drawn(2), events=KINDS, history={"at_least": 3})
    numbers = {kind["kind"]: kind for kind in made.report.kinds}
    for part, rows in made.report.parts.items():
        assert sum(numbers[kind][part] for kind in GOOD) == rows
        assert numbers["bot"][part] == 0, "what is ignored is in no part"
    assert sum(kind["rows"] for kind in numbers.values()) == 300 and numbers["bot"]["rows"] > 0


@pytest.mark.parametrize(("by", "left_out"), [("time", []), ("column", [0])])
def test_training_does_not_know_what_was_answered_after_it(prepared: Prepared, by: str, left_out: list[int]) -> None:
    events = {
        "user": ["a"] * 10, "item": [9, 1, 2, 3, 4, 5, 6, 7, 8, 9], "time": list(range(10)),
        "event": ["view", "click", "view", "click", "view", "click", "view", "click", "view", "click"],
        "split": ["train"] * 8 + ["valid", "test"],
    }  # fmt: skip
    kinds = {"positive": ["click"], "shown": ["view"]}
    made = prepared(events, split={"by": by}, events=kinds, **CLICKS)
    assert made.interactions.part[9] == Part.TEST
    assert np.flatnonzero(made.interactions.part == Part.UNUSED).tolist() == left_out
    assert sum(made.report.dropped.values()) == len(left_out)
    assert made.report.kinds[0]["train"] == 4 - len(left_out), "the report counts it in its part"


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("scope", ["past", "training"])
@pytest.mark.parametrize("by", ["random", "column"])
def test_a_return_in_training_neither_masks_nor_reveals_the_held_out_purchase(
    prepared: Prepared, by: str, scope: str, feedback: bool
) -> None:
    users, items = [f"u{n}" for n in range(12) for _ in range(6)], [f"i{n % 9}" for n in range(72)]
    parts = ["train", "train", "train", "train", "valid", "test"] * 12
    events = {
        "user": users * 2, "item": items * 2, "time": list(range(144)),
        "event": ["buy"] * 72 + ["return"] * 72, "split": parts + ["train"] * 72,
    }  # fmt: skip
    kinds = {"positive": ["buy"], "negative": ["return"]}
    made = prepared(events, split={"by": by}, history={"scope": scope}, events=kinds, reads_feedback=feedback)
    data, histories = made.interactions, made.histories
    for row in [*data.rows(Part.VALIDATION), *data.rows(Part.TEST)]:
        assert data.item[row] not in histories.seen(row), "it would rank last"
        assert data.item[row] not in histories.before(row).items
    row = int(data.rows(Part.TRAIN)[0])
    assert data.item[row] in histories.seen(row), "items that training both bought and returned stay seen"


@pytest.mark.parametrize("seed", range(3))
def test_train_rows_is_the_number_of_training_rows_for_every_task(prepared: Prepared, seed: int) -> None:
    split = {"by": "time", "train_rows": 10}
    for task in TASKS:
        assert prepared(drawn(seed), events=KINDS, split=split, **task).report.parts["train"] == 10


def test_blanks_around_a_kind_are_part_of_it() -> None:
    section = EventsSection(positive=(" view",))
    assert section.positive == (" view",)
