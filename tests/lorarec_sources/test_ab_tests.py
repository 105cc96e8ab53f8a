"""The source `ab_tests`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorarec.contracts import DataError, RawTables
from lorarec.testing import check_data_source
from lorarec_sources.ab_tests import AbTestsSource, lead

Write = Callable[[dict[str, str | bytes]], Path]
HEADER = "test,text,impressions,clicks,split\n"
ROWS = """\
1,banana,1000,30,train
1,apple,400,4,train
1,apple,600,6,train
1,banana,1000,30,train
2,cherry,1000,20,test
2,banana,1000,21,test
2,apple,1000,90,test
3,cherry,1000,20,validation
3,cherry,1000,60,validation
"""


def source(path: Path, **options: Any) -> AbTestsSource:
    return AbTestsSource(AbTestsSource.Config(path=str(path), test="test", text="text", **options))


def load(path: Path, **options: Any) -> RawTables:
    return source(path, **options).load()


def test_rows_of_one_text_are_summed_and_compared_with_the_others(folder: Write) -> None:
    tables = load(folder({"x.csv": HEADER + ROWS}) / "x.csv")
    first = tables.interactions[0]
    assert (first["user"], first["item"], first["history"], first["split"]) == ("1", "apple", ["banana"], "train")
    pooled = 70 / 3000
    wanted = (10 / 1000 - 60 / 2000) / np.sqrt(pooled * (1 - pooled) * (1 / 1000 + 1 / 2000))
    assert first["rating"] == pytest.approx(wanted) and wanted < 0
    assert tables.items is not None and set(tables.items["title"][:]) == {"apple", "banana", "cherry"}


def test_undecided_pairs_are_used_for_training_but_not_for_evaluation(folder: Write) -> None:
    undecided = HEADER + "1,a,1000,20,{0}\n1,b,1000,21,{0}\n2,a,1000,20,{1}\n2,b,1000,90,{1}\n"
    path = folder({"x.csv": undecided.format("train", "test"), "y.csv": undecided.format("test", "train")})
    assert Counter(load(path / "x.csv").interactions["split"][:]) == {"train": 1, "test": 1}
    assert Counter(load(path / "y.csv").interactions["split"][:]) == {"train": 1}
    assert Counter(load(path / "y.csv", decided=0).interactions["split"][:]) == {"train": 1, "test": 1}


def test_pairs_are_in_alphabetical_order_and_not_in_order_of_rates(folder: Write) -> None:
    rows = load(folder({"x.csv": HEADER + ROWS}) / "x.csv").interactions.to_list()
    assert [(row["item"], row["history"], row["rating"] > 0) for row in rows if row["user"] == "2"] == [
        ("apple", ["banana"], True),
        ("apple", ["cherry"], True),
    ]


def test_the_lead_is_the_z_of_two_proportions() -> None:
    assert lead((1000, 1000), (60, 40)) == pytest.approx(20 / np.sqrt(2000 * 0.05 * 0.95))
    assert lead((1000, 500), (0, 0)) == 0.0
    assert lead((10, 500), (10, 500)) == 0.0


def test_it_satisfies_the_contract_of_sources(folder: Write) -> None:
    check_data_source(source(folder({"x.csv": HEADER + ROWS}) / "x.csv"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("test,texts,impressions,clicks,split\n1,a,2,1,train\n", "no column 'text'. Did you mean 'texts'?.*`text`"),
        (
            HEADER + "1,a,9,1,train\n1,b,9,2,test\n",
            "row 2, column 'split': test 1 is in test.* row has it in train",
        ),
        (HEADER + "1,a,9,1,train\n1,b,9,10,train\n", "row 2, column 'clicks': 10 is not a count of clicks from 0 to 9"),
        (HEADER + "1,a,0,0,train\n", "row 1, column 'impressions': 0 is not a count of 1 or more"),
        (HEADER + "1,a,9.5,1,train\n", "row 1, column 'impressions': 9.5 is not a count"),
        (HEADER + "1,,9,1,train\n", "row 1, column 'text': the value is missing"),
        (HEADER + "1,a,9,1,train\n2,b,9,1,train\n", "no test shows two texts .* of different click rates"),
    ],
)
def test_an_invalid_value_is_named(folder: Write, text: str, wanted: str) -> None:
    with pytest.raises(DataError, match=rf"x\.csv.*{wanted}"):
        load(folder({"x.csv": text}) / "x.csv")


def test_the_upworthy_archive_has_the_pairs_of_the_protocol(real: Callable[[str], Path]) -> None:
    path = real("upworthy-headlines")
    pairs = AbTestsSource(AbTestsSource.Config(path=str(path))).load().interactions.with_format("numpy")[:]
    assert Counter(pairs["split"].tolist()) == {"train": 16125, "valid": 617, "test": 614}
    training = pairs["split"] == "train"
    assert (np.abs(pairs["rating"][training]) > 1.96).sum() == 4754
    assert np.abs(pairs["rating"][~training]).min() > 1.96
