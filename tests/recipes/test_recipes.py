"""Each recipe resolves, survives being written out, and trains: shrunk, for two steps, on a tiny backbone."""

import json
from pathlib import Path

import pytest
import yaml

import lorarec
from lorarec.pipeline.open_recipe import open_recipe
from lorarec.registry.resolve import full_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
DATA = {
    "movielens_rating": "ml-100k",
    "movielens_next_item": "ml-100k",
    "video_games_next_item": "amazon-video-games-seq",
    "tallrec_ctr": "tallrec-movie",
    "tallrec_few_shot": "tallrec-movie",
    "upworthy_headlines": "upworthy-headlines",
    "review_stars": "amazon2023-user-histories",
}
"""Where the data of a recipe lie that needs some, beside the checkout."""
SHORT = ["train.max_steps=2", "train.epochs=1", "train.batch_size=4", "train.accumulate=1", "evaluate.batch_size=512"]


@pytest.fixture(params=RECIPES, ids=lambda file: file.stem)
def recipe(request):
    return request.param


def test_it_bears_its_files_name_and_describes_itself(recipe):
    opened = open_recipe(recipe).recipe
    assert opened.name == recipe.stem
    assert opened.description


def test_written_out_it_is_the_same_recipe(recipe, tmp_path):
    whole = full_recipe(open_recipe(recipe))
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    assert full_recipe(open_recipe(copy)) == whole


def overrides_for_its_data(recipe):
    """What points a recipe to its data. Skips the test where they are not at hand."""
    if open_recipe(recipe).recipe.data.source.name == "synthetic":
        return ["data.source.users=60", "data.source.items=50", "data.source.events=800"]
    folder = ROOT / "../shared/data" / DATA[recipe.stem]
    if not folder.is_dir():
        pytest.skip(f"needs its data in ../shared/data/{DATA[recipe.stem]}, beside the checkout")
    beside = (
        [f"data.source.items={(folder / '../ml-100k/items.parquet').resolve()}"] if "tallrec" in recipe.stem else []
    )
    return [f"data.source.path={folder.resolve()}", *beside]


def test_it_trains_when_shrunk(recipe, tiny_checkpoint, tmp_path):
    overrides = [
        *overrides_for_its_data(recipe),
        *("backbone=text", f"backbone.checkpoint={tiny_checkpoint('bert')}", "backbone.max_length=64"),
        *SHORT,
        *(["adapter.layers=[-1]"] if getattr(open_recipe(recipe).adapter.config, "layers", None) else []),
    ]
    run = lorarec.train(recipe, overrides, output=tmp_path / "run")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert written["steps"] == 2
    wanted = open_recipe(recipe).metrics
    for part in ("validation", "test"):
        assert set(written[part]) == {metric.label for metric in wanted}
    assert run.metrics["test"] == written["test"]
