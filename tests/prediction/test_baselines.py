"""Baselines use what they claim to use, and nothing of what is held out."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset

from lorarec.contracts import Histories, Interactions, Part, Requests, Statistics
from lorarec.prediction.baselines import Asked, rank_baselines, score_baselines

COLUMNS = {
    #        training                  test
    "user": [0, 0, 0, 1, 1, 1, 2, 2, 0, 1],
    "item": [0, 1, 2, 0, 1, 3, 0, 2, 3, 4],
    "time": [1, 2, 3, 1, 2, 9, 1, 2, 20, 21],
    "rating": [5, 5, 4, 1, 2, 1, 3, 3, 1, 5],
}
PARTS = [Part.TRAIN] * 8 + [Part.TEST] * 2
ITEMS = 5
STARS = np.array([1.0, 5.0])


def asked():
    """The two test rows of the table."""
    made = {name: pa.array([float(v) for v in values]) for name, values in COLUMNS.items()}
    made |= {name: pa.array(COLUMNS[name]) for name in ("user", "item")}
    interactions = Interactions(Dataset(pa.table(made)), ["a", "b", "c"], np.array(PARTS, np.int8))
    events = np.array([8, 9])
    histories = Histories.of(interactions, "past", "rating", 3.5, "time")
    return Asked(events, interactions.item[events], interactions, histories)


def statistics(mean=3.0, low=1.0, high=5.0):
    counts = np.bincount(COLUMNS["item"][:8], minlength=ITEMS)
    return Statistics(counts, np.bincount(COLUMNS["user"][:8]), mean, low, high, 3.5)


def test_biases_follow_the_feedback_of_the_users_history():
    scores = score_baselines(asked(), "rating", STARS, statistics())
    assert list(scores) == ["mean", "item mean", "user mean", "biases"]
    assert scores["mean"].tolist() == [3, 3]
    generous, strict = scores["user mean"]
    assert generous == pytest.approx(3 + (2 + 2 + 1) / (3 + 5))
    assert strict == pytest.approx(3 + (-2 - 1 - 2) / (3 + 5))
    disliked, unseen = scores["item mean"]
    assert disliked == pytest.approx(3 - 2 / (1 + 5)) and unseen == 3.0
    # The user's bias is that of the residuals after the items' biases.
    left = (2 - 0 / 8) + (2 - 1 / 7) + (1 - 1 / 7)
    assert scores["biases"][0] == pytest.approx(3 - 2 / 6 + left / 8)


def test_scores_stay_within_the_range_of_the_labels():
    scores = score_baselines(asked(), "rating", STARS, statistics(mean=4.9))
    assert all(values.max() <= 5 for values in scores.values())


def test_for_sampled_clicks_popular_items_are_more_probable_and_the_mean_probability_is_the_share():
    scores = score_baselines(asked(), None, np.array([1.0, 0.0]), statistics())
    assert set(scores) == {"mean", "popularity"}
    rare, unseen = scores["popularity"]
    # An item's odds: those of a chosen item, (1 + 4, 2, 2 + ...) / their mean, times those of the share, here 1.
    popular = (statistics().item_counts + 1) / (statistics().item_counts + 1).mean()
    assert [rare, unseen] == pytest.approx((popular / (1 + popular))[[3, 4]]) and rare > unseen
    assert scores["mean"].tolist() == [0.5, 0.5]


def test_rank_baselines_mask_seen_items_and_rank_by_count_by_recency_and_by_text():
    frozen = torch.eye(ITEMS)
    frozen[3] = frozen[0] + frozen[1]  # similar to what user 0 has seen
    ranked = rank_baselines(asked(), statistics().item_counts, 2, frozen)
    assert list(ranked) == ["popularity", "most recent", "nearest text"]
    # User 0 has seen 0, 1, 2: item 3 (one event) comes before 4; user 1 has seen 0, 1, 3: item 2 before 4.
    assert ranked["popularity"].ranks.tolist() == [0, 1]
    assert ranked["popularity"].lists.tolist() == [[3, 4], [2, 4]]
    assert ranked["most recent"].ranks.tolist() == [0, 1]
    assert ranked["nearest text"].ranks[0] == 0


def test_the_nearest_text_is_counted_from_the_mean_of_the_shop():
    # All texts point one way, as those of one shop do: item 3 points there most of all, item 4 differs as the history.
    frozen = torch.tensor([[10.0, 1.0], [10.0, 1.0], [10.0, 1.0], [0.2, 0.05], [10.0, 3.0]])
    ranked = rank_baselines(asked(), statistics().item_counts, 2, frozen)
    assert ranked["nearest text"].lists[0].tolist() == [4, 3]


def test_the_latest_item_leads_most_recent_although_it_is_rare():
    nothing_seen = Requests.of([[]] * len(PARTS), None, None, 3.5).histories
    ranked = rank_baselines(asked()._replace(histories=nothing_seen), statistics().item_counts, 1, None)
    assert list(ranked) == ["popularity", "most recent"]
    assert ranked["most recent"].lists.ravel().tolist() == [3, 3]
    assert ranked["most recent"].ties.tolist() == [0, 0], "item 4, never taken, comes after item 0, taken first of all"
    assert ranked["popularity"].lists.ravel().tolist() == [0, 0]
