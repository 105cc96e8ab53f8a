"""Data: values that are missing, of the wrong type or out of range are named by file, row and column."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COLUMNS = "user,item,time,rating,click"
ROWS = [
    (f"u{user}", f"i{(user * 3 + step * 5) % 12}", 1000 + step * 50 + user, 1 + (user + step) % 5, (user + step) % 2)
    for user in range(10)
    for step in range(8)
]
ITEMS = "item,title\n" + "".join(f"i{n},{['red', 'green', 'blue'][n % 3]} lamp {n}\n" for n in range(12))
FILE, ITEM_FILE = "shop/interactions.csv", "shop/items.csv"
AT_ROW_4 = {
    ("item", ""): "the value is missing (empty)",
    ("user", ""): "the value is missing (empty)",
    ("time", "noon"): "'noon' is not a number",
    ("click", "yes"): "'yes' is not a number",
    ("click", ""): "the value is missing",
    ("click", "nan"): "'nan' is not a finite number",
    ("click", "inf"): "'inf' is not a finite number",
}


def events(rows: list[tuple[Any, ...]] = ROWS, columns: str = COLUMNS) -> str:
    """The text of a csv file."""
    return "\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n"


def with_value(column: str, value: object) -> str:
    """The events with another value in row 4."""
    changed = list(ROWS[3])
    changed[COLUMNS.split(",").index(column)] = value
    return events([*ROWS[:3], tuple(changed), *ROWS[4:]])


@pytest.fixture
def shop(recipe: Callable[..., Path]) -> Callable[..., Path]:
    """shop(interactions, items, split={...}): a recipe with these files as its data."""

    def made(interactions: str | None = None, items: str | None = ITEMS, head: str = "ctr", **section: Any) -> Path:
        Path("shop").mkdir(exist_ok=True)
        Path(FILE).write_text(events() if interactions is None else interactions)
        if items is not None:
            Path(ITEM_FILE).write_text(items)
        return recipe(head, data={"source": {"name": "files", "path": "shop"}, **section})

    return made


@pytest.mark.parametrize(("column", "value"), AT_ROW_4, ids=lambda value: value or "empty")
def test_a_bad_value_is_named_by_file_column_and_row(
    column: str, value: str, shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    message = f"{FILE}, column '{column}', row 4: {AT_ROW_4[column, value]}"
    refused("train", shop(with_value(column, value)), "--output", "run", says=[message, "row"])


@pytest.mark.parametrize(
    ("head", "interactions", "says"),
    [
        ("ctr", with_value("click", 7), [f"{FILE}: Row 4, 'click': 7 is neither 0 nor 1", "head 'rating'"]),
        ("ctr", events([(*row[:4], 1) for row in ROWS]), ["All 80 values of 'click' are 1", "head.negatives=4"]),
        (
            "rating",
            events([(*row[:3], 3, 1) for row in ROWS]),
            ["All 80 values of 'rating' are 3", "data.columns.rating"],
        ),
    ],
    ids=["out of range", "all clicks equal", "all stars equal"],
)
def test_labels_from_which_no_task_can_learn_are_refused(
    head: str, interactions: str, says: list[str], shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    refused("train", shop(interactions, head=head), "--output", "run", says=[FILE, *says])


@pytest.mark.parametrize(("bad", "says"), [(7, "Row 2 of browse.csv, 'click': 7 is neither"), (1, "All 80 values of")])
def test_a_bad_label_is_named_by_its_own_file(
    bad: int, says: str, shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    rows = [(*row[:4], 1) for row in ROWS]
    rows[41] = (*rows[41][:4], bad)
    source = {"name": "files", "path": "shop", "interactions": ["a.csv", "browse.csv"]}
    written = shop(source=source)
    Path("shop/a.csv").write_text(events(rows[:40]))
    Path("shop/browse.csv").write_text(events(rows[40:]))
    assert "over all files" not in refused("train", written, "--output", "run", says=[says])


@pytest.mark.parametrize(
    ("interactions", "says"),
    [
        (events(columns="user,item,time,rating,clik"), "data.columns.click=NAME. Did you mean 'clik'? Columns: "),
        (events(columns="user,itm,time,rating,click"), "data.columns.item=NAME. Did you mean 'itm'? Columns: "),
        (events(columns="usr,item,time,rating,click"), "no column 'user'; say which one it is: data.columns.user="),
        (events(columns="user,item,when,rating,click"), "there is no column 'time'. Name it (data.columns.time=NAME)"),
        (events([]), "no rows. Give a file with at least one interaction."),
        ("", "the file is empty. Line 1 must name the columns."),
        (events() + "u1,i2\n", ", line 82: 2 fields, but line 1 names 5 columns"),
        (events([(row[0], "i1", *row[2:]) for row in ROWS]), "the catalog has one item ('i1'), so"),
    ],
    ids=["label", "item", "user", "time", "no rows", "empty file", "short line", "one item"],
)  # fmt: skip
def test_a_missing_part_of_the_events_is_named(
    interactions: str, says: str, shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    refused("train", shop(interactions, items=None), "--output", "run", says=[FILE, says])


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (ITEMS + "i1,again\n", ", column 'item', row 13: item 'i1' is listed again (first in row 2). Keep one"),
        (ITEMS + ",nameless\n", ", column 'item', row 13: the value is missing (empty)"),
        (
            ITEMS.replace("item,", "itm,"),
            "no column 'item', which should hold the item's id; say which one it is: data.item_id=NAME. Did",
        ),
        (ITEMS.replace("i3,red lamp 3", "i3,\u200b"), "item 'i3' has no words in the template 'item'"),
    ],
    ids=["listed twice", "no id", "no id column", "no words"],
)
def test_a_mistake_in_the_items_is_named_by_their_file(
    items: str, says: str, shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    refused("train", shop(items=items), "--output", "run", says=[ITEM_FILE, says])


def test_missing_files_and_folders_are_named_with_existing_ones(
    shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    path = shop()
    refused("train", path, "data.source.path=shpo", says=["shpo: there is no such folder. Did you mean 'shop'?"])
    refused("train", path, "data.source.path=~nobody-here/shop", says=["~nobody-here/shop: there is no such folder"])
    refused("train", path, "data.source.interactions=buys.csv", says=["shop/buys.csv", "interactions.csv"])
    Path(FILE).unlink()
    refused("train", path, says=["shop: there is no file of interactions", "Set `interactions` to the file"])


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"by": "time", "test": 0.001}, "the test part of the split is empty: too few rows"),
        ({"by": "random", "validation": 0.001}, "the validation part of the split is empty: too few rows"),
        ({"by": "time", "validation": 0.5, "test": 0.5}, "leave no rows to train on. Make them smaller"),
        ({"by": "column"}, "no column 'split', which data.split names"),
        ({"by": "column", "column": "rating"}, "column 'rating', row 1: 1.0 is not a part of a split"),
    ],
    ids=["time", "random", "no training", "no column", "no part"],
)
def test_an_empty_split_says_which_part_and_what_to_change(
    split: dict[str, Any], says: str, shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    refused("train", shop(split=split), "--output", "run", says=[says])


def test_an_empty_last_out_split_says_that_no_user_has_three_events(
    shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    single_events = events([(f"u{row}", *event[1:]) for row, event in enumerate(ROWS)])
    says = ["the validation part of the split is empty: no user has three events", "data.split.by=time or random"]
    refused("train", shop(single_events, split={"by": "last"}), "--output", "run", says=says)


def test_a_minimum_history_that_leaves_a_part_empty_is_refused(
    shop: Callable[..., Path], refused: Callable[..., str]
) -> None:
    says = ["no row of the train part has a history of 100 events or more. Lower data.history.at_least."]
    refused("train", shop(history={"at_least": 100}), "--output", "run", says=says)


def test_rows_with_less_than_the_minimum_history_are_left_out_and_counted(
    shop: Callable[..., Path], command: Callable[..., Any]
) -> None:
    result = command("train", shop(history={"at_least": 2}), "--output", "run")
    assert result.code == 0
    assert "WARNING: 20 rows are left out: history shorter than 2." in result.err
    assert json.loads(Path("run/data_report.json").read_text())["dropped"] == {"history shorter than 2": 20}


def test_texts_that_are_empty_missing_or_truncated_are_counted_in_warnings_report_and_model_card(
    shop: Callable[..., Path], command: Callable[..., Any]
) -> None:
    items = ITEMS.replace("red lamp 3", "").replace("i4,green lamp 4\n", "").replace("red lamp 6", "red lamp " * 90)
    path = shop(items=items)
    sentences = [
        "1 item is not in the item table and is read as its id",
        "1 item has an empty text and is read as its id",
        "1 items are longer than 32 tokens and lose their end",
    ]
    checked, result = command("check", path).out, command("train", path, "--output", "run")
    card = Path("run/README.md").read_text()
    report = json.loads(Path("run/data_report.json").read_text())
    for sentence in sentences:
        assert sentence in checked and f"WARNING: {sentence}." in result.err and sentence in card
    assert (report["items_without_text"], report["empty_texts"], report["notes"]) == (1, 1, sentences[2:])


def test_users_without_a_history_are_counted(shop: Callable[..., Path], command: Callable[..., Any]) -> None:
    assert "10 rows have an empty history" in command("check", shop()).out


def test_a_run_is_not_evaluated_on_data_that_have_changed(
    shop: Callable[..., Path], command: Callable[..., Any], refused: Callable[..., str]
) -> None:
    assert command("train", shop(), "--output", "run").code == 0
    assert command("evaluate", "run").code == 0
    for interactions, items in (
        (events([*ROWS, ("u1", "i1", 5000, 3, 1)]), ITEMS),
        (with_value("click", 1 - ROWS[3][4]), ITEMS),
        (events(), ITEMS.replace("red lamp 3", "red lamp III")),
    ):
        shop(interactions, items)
        refused("evaluate", "run", says=["run: the data of its recipe, or their split, have changed", "train again"])
