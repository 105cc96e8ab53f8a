"""Diversified lists keep the best item and avoid items that are similar to those chosen."""

import numpy as np
import pytest
import torch

from lorarec.prediction.diversity import diversified, list_measures

# Items 0 to 2 are nearly the same, 3 and 4 are dissimilar to all others.
VECTORS = torch.tensor([[1.0, 0, 0], [1, 0.01, 0], [1, 0.02, 0], [0, 1, 0], [0, 0, 1]])
ROWS = torch.tensor([[0, 1, 2, 3, 4]])
SCORES = torch.tensor([[1.0, 0.9, 0.8, 0.7, 0.1]])


def chosen(weight, k=3, rows=ROWS, scores=SCORES):
    return rows.gather(1, diversified(rows, scores, VECTORS, k, weight)).tolist()


def test_a_weight_of_zero_changes_nothing():
    assert chosen(0.0, k=5) == ROWS.tolist()


def test_dissimilar_items_move_up_with_the_weight():
    assert chosen(0.3) == [[0, 3, 1]]
    assert chosen(0.6) == [[0, 3, 4]]
    assert chosen(1.0)[0][0] == 0


def test_each_item_is_chosen_once_and_missing_ones_come_last():
    rows = torch.tensor([[2, 0, -1, -1, -1], [0, 1, 2, 3, 4]])
    scores = torch.tensor([[0.5, 0.4, -torch.inf, -torch.inf, -torch.inf], [1.0, 0.9, 0.8, 0.7, 0.1]])
    lists = rows.gather(1, diversified(rows, scores, VECTORS, 4, 0.3)).tolist()
    assert lists[0] == [2, 0, -1, -1]
    assert len(set(lists[1])) == 4


def test_equal_scores_leave_the_order_to_the_vectors():
    assert chosen(0.3, scores=torch.zeros(1, 5))[0][:2] == [0, 3]


def test_the_measures_of_lists():
    counts = np.array([6, 0, 0, 1, 0])
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.001], [-2.0, -0.001], [0.0, 1.0], [0.0, -1.0]]) + 7.0
    same, apart = (list_measures(np.array(lists), vectors, counts) for lists in ([[0, 1]], [[0, 3], [4, -1]]))
    assert same["coverage"] == 2 / 5 and apart["coverage"] == 3 / 5
    assert same["intra-list diversity"] == pytest.approx(0, abs=1e-3)
    assert apart["intra-list diversity"] == pytest.approx(1)
    assert same["novelty"] == pytest.approx((-np.log2(7 / 12) - np.log2(1 / 12)) / 2)
