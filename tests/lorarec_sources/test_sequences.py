"""The source `sequences`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorarec.contracts import DataError, Part, RawTables
from lorarec_sources.sequences import SequencesSource

Folder = Callable[..., Path]
USERS = {"user_id": ["a", "b", "c"], "items": [[3, 1], [], [1, 2, 3]]}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    def write(**tables: dict[str, Any]) -> Path:
        for name, columns in tables.items():
            pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        return tmp_path

    return write


def load(path: Path, **options: Any) -> RawTables:
    return SequencesSource(SequencesSource.Config(path=str(path), **options)).load()


def test_each_item_of_a_list_is_an_event_in_its_order(folder: Folder) -> None:
    events = load(folder(sequences=USERS)).interactions.to_dict()
    assert events == {"user": ["a", "a", "c", "c", "c"], "item_id": [3, 1, 1, 2, 3]}


def test_users_of_the_second_table_are_marked_for_evaluation(folder: Folder) -> None:
    path = folder(sequences=USERS, chosen={"user_id": ["c"]})
    assert load(path, eval_users="chosen.parquet").interactions["eval_users"][:] == [False, False, True, True, True]


def test_a_user_to_evaluate_without_a_sequence_is_refused(folder: Folder) -> None:
    path = folder(sequences=USERS, chosen={"user_id": ["c", "x"]})
    with pytest.raises(DataError, match=r"chosen\.parquet, row 2: user 'x' has no sequence"):
        load(path, eval_users="chosen.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": ["a"], "things": [[1]]}, r"no column 'items'.*Columns: user_id, things"),
        ({"user_id": ["a"], "items": [1]}, r"column 'items': values of type int64; each row needs a list"),
        ({"user_id": ["a", "b"], "items": [[1], None]}, r"column 'items', row 2: no list"),
    ],
)
def test_a_table_without_lists_is_refused(folder: Folder, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(folder(sequences=columns))


SHOP = Path(__file__).parents[2] / "../shared/data/amazon-video-games-seq"


@pytest.mark.skipif(not SHOP.is_dir(), reason="needs ../shared/data/amazon-video-games-seq next to the checkout")
def test_6000_users_of_the_video_games_are_evaluated() -> None:
    from lorarec.data.prepare import Wanted, prepare
    from lorarec.pipeline.assemble import open_recipe

    recipe = Path(__file__).parents[2] / "recipes/video_games_next_item.yaml"
    opened = open_recipe(recipe, [f"data.source.path={SHOP.resolve()}"])
    data = prepare(opened.source.load(), Wanted(), opened.recipe.data, opened.recipe.seed)
    part = data.interactions.part
    assert [int((part == p).sum()) for p in (Part.TRAIN, Part.VALIDATION, Part.TEST)] == [339172, 6000, 6000]
    assert data.report.dropped == {"left out by data.split.users": 2 * (50546 - 6000)}
