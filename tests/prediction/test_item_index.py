"""ItemIndex: high recall with exact scores from a fraction of the lists; refused without faiss."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from lorarec.errors import LorarecError
from lorarec.prediction import item_index
from lorarec.prediction.item_index import ItemIndex
from lorarec.prediction.ranking import mask_seen, top_items

pytest.importorskip("faiss", reason="the extra 'index' is not installed")
NOTHING = np.empty(0, np.int64)


def shop(items: int, users: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of items and users around 40 centers; the items' last number is their popularity."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(40, 8, generator=generator)

    def around(count: int) -> torch.Tensor:
        cluster = torch.randint(0, 40, (count,), generator=generator)
        return centers[cluster] + 0.4 * torch.randn(count, 8, generator=generator)

    popularity = torch.rand(items, 1, generator=generator) * 3
    return torch.cat([around(items), popularity], dim=1), torch.cat([around(users), torch.ones(users, 1)], dim=1)


def test_recall_is_high_although_most_lists_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    items, users = shop(20_000)
    seen = [np.arange(user, 200) for user in range(20)]
    scores = mask_seen(users @ items.T, seen)
    expected = top_items(scores, 10)[0]
    monkeypatch.setattr(item_index, "PROBED", 30)  # of 141
    rows, best = ItemIndex(items).best(users, 10, seen)
    shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(rows, expected, strict=True)]
    assert sum(shared) >= 0.95 * 200
    torch.testing.assert_close(best, scores.gather(1, rows))
    assert (best.diff(dim=1) <= 0).all()
    monkeypatch.setattr(item_index, "PROBED", 1)
    rows, _ = ItemIndex(items).best(users, 10, seen)
    few_lists = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(rows, expected, strict=True)]
    assert sum(few_lists) < sum(shared), "so few lists miss some: the test can tell"


def test_a_small_catalog_is_searched_completely() -> None:
    items, users = shop(1500)
    rows, best = ItemIndex(items).best(users, 10, [NOTHING] * 20)
    expected, exact = top_items(users @ items.T, 10)
    torch.testing.assert_close(best, exact)
    assert torch.equal(rows, expected)


def test_the_best_is_the_largest_dot_product_not_the_nearest_vector() -> None:
    items = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0], [-9.0, 0.0]])
    rows, best = ItemIndex(items).best(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 1, [NOTHING] * 2)
    assert rows.tolist() == [[1], [3]] and best.tolist() == [[5.0], [9.0]]


def test_seen_items_are_left_out_however_many() -> None:
    items, users = shop(300)
    order = top_items(users @ items.T, 300)[0].numpy()
    seen = [np.sort(row[: 10 * user]) for user, row in enumerate(order)]
    rows, _ = ItemIndex(items).best(users, 5, seen)
    assert rows.tolist() == [row[10 * user : 10 * user + 5].tolist() for user, row in enumerate(order)]


def test_rows_are_minus_one_where_no_items_are_left() -> None:
    items, users = shop(6)
    rows, best = ItemIndex(items).best(users[:1], 10, [np.array([0, 2])])
    assert sorted(rows[0].tolist()) == [-1, -1, 1, 3, 4, 5]
    assert best[0, 4:].tolist() == [-torch.inf] * 2


def test_equal_scores_are_ordered_by_catalog_row() -> None:
    rows, _ = ItemIndex(torch.ones(50, 3)).best(torch.ones(1, 3), 49, [np.array([1])])
    assert rows.tolist() == [[0, *range(2, 50)]]


def test_without_faiss_the_error_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Any = None
    monkeypatch.setitem(sys.modules, "faiss", absent)
    with pytest.raises(LorarecError, match=r"pip install 'lorarec\[index\]'"):
        ItemIndex(torch.ones(3, 2))
