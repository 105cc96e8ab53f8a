"""The source `synthetic`."""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from types import FrameType

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from lorarec.contracts import RawTables
from lorarec_sources.synthetic import STYLES, THEMES, SyntheticSource

EVENTS_A_USER = 30


@cache
def shop(seed: int = 0) -> RawTables:
    return SyntheticSource(SyntheticSource.Config(seed=seed)).load()


def digest(tables: RawTables) -> str:
    assert tables.items is not None
    rows = [tables.interactions.to_list(), tables.items.to_list()]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def test_a_seed_gives_the_same_tables_on_every_platform() -> None:
    assert digest(shop()) == "c8e2923f361e440e309313237e0c68edf1b7c335531b05486bad252d047c8461"
    assert digest(shop(1)) != digest(shop())


def test_the_work_is_linear_in_the_events() -> None:
    calls = {users: _calls(users) for users in (20, 40)}
    assert calls[20] < 60 * EVENTS_A_USER * 20, "a few numpy calls an event, none an item"
    assert calls[40] < 2.5 * calls[20]


def _calls(users: int) -> int:
    """Number of function calls, Python's and C's, that generating a shop with this number of users takes."""
    counted = 0

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    source = SyntheticSource(SyntheticSource.Config(users=users, events=EVENTS_A_USER * users))
    sys.setprofile(count)
    try:
        source.load()
    finally:
        sys.setprofile(None)
    return counted


def test_events_are_sorted_and_no_user_has_an_item_twice() -> None:
    events = shop().interactions.to_pandas()
    assert events["time"].is_monotonic_increasing
    assert not events.duplicated(["user", "item"]).any()
    assert 11_000 < len(events) < 13_000 and events["user"].nunique() == 400
    assert set(events["rating"]) == {1, 2, 3, 4, 5}
    assert ((events["rating"] >= 4) == events["click"]).all()
    assert 0.4 < events["click"].mean() < 0.65


def test_no_title_occurs_twice_and_each_names_its_product() -> None:
    items = shop().items
    assert items is not None
    rows = items.to_list()
    assert len({row["title"] for row in rows}) == len(rows) == 300
    assert all(any(product in row["title"] for product in THEMES[row["category"]]) for row in rows)


def word_indicators(titles: list[str]) -> np.ndarray:
    """[N, W] 1 for each product and quality that a title names."""
    words = [product for products in THEMES.values() for product in products] + list(STYLES)
    return np.array([[word in title.lower() for word in words] for title in titles], float)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_titles_predict_clicks_and_popularity_does_not(seed: int) -> None:
    tables = shop(seed)
    assert tables.items is not None
    events = tables.interactions.to_pandas()
    themes = np.array([[category == name for name in THEMES] for category in tables.items["category"][:]], float)
    vectors = np.hstack([themes, word_indicators(tables.items["title"][:])[:, -len(STYLES) :]])
    row = {item: number for number, item in enumerate(tables.items["item"][:])}
    cut = int(len(events) * 0.8)
    train, test = events[:cut], events[cut:]
    profiles: dict[str, np.ndarray] = {}
    for user, item, click in zip(train["user"], train["item"], train["click"], strict=True):
        profiles[user] = profiles.get(user, np.zeros(vectors.shape[1])) + (2 * click - 1) * vectors[row[item]]
    text = [
        profiles.get(user, np.zeros(vectors.shape[1])) @ vectors[row[item]]
        for user, item in zip(test["user"], test["item"], strict=True)
    ]
    counted = train.groupby("item")["click"].agg(["sum", "size"])
    liked = ((counted["sum"] + 2) / (counted["size"] + 4)).reindex(test["item"]).fillna(0.5)
    assert roc_auc_score(test["click"], text) > 0.75
    assert roc_auc_score(test["click"], liked) < 0.62


def test_some_items_of_the_last_events_are_new() -> None:
    events = shop().interactions.to_pandas()
    cut = int(len(events) * 0.8)
    unseen = ~events["item"][cut:].isin(events["item"][:cut])
    assert 0.03 < unseen.mean() < 0.2


def test_the_next_department_depends_on_the_last_one() -> None:
    tables = shop()
    assert tables.items is not None
    category = dict(zip(tables.items["item"][:], tables.items["category"][:], strict=True))
    events = tables.interactions.to_pandas()
    events["category"] = events["item"].map(category)
    before = events.groupby("user")["category"].shift()
    same = (events["category"] == before)[before.notna()].mean()
    shuffled = events.sample(frac=1, random_state=0)
    by_chance = shuffled.groupby("user")["category"].shift()
    assert same > 1.2 * (shuffled["category"] == by_chance)[by_chance.notna()].mean()


def test_more_events_than_the_items_allow_are_refused() -> None:
    with pytest.raises(ValidationError, match="no user has an item twice: at most 133"):
        SyntheticSource.Config(users=20, items=20, events=200)


def test_fewer_events_than_users_are_refused() -> None:
    with pytest.raises(ValidationError, match="29 events are too few for 30 users: at least one for each"):
        SyntheticSource.Config(users=30, events=29)
    assert SyntheticSource.Config(users=30, events=30).events == 30
