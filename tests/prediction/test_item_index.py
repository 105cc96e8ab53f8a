"""ItemIndex: nearly the best, with exact scores, in a fraction of the lists; refused where it makes no sense."""

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
    """Vectors of items and users around 40 centres; the items' last number is their popularity."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, 8, generator=generator)

    def around(count: int) -> torch.Tensor:
        places = torch.randint(0, 40, (count,), generator=generator)
        return centres[places] + 0.4 * torch.randn(count, 8, generator=generator)

    popularity = torch.rand(items, 1, generator=generator) * 3
    return torch.cat([around(items), popularity], dim=1), torch.cat([around(users), torch.ones(users, 1)], dim=1)


def test_nearly_all_of_the_best_are_found_without_looking_at_most_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    items, users = shop(20_000)
    seen = [np.arange(user, 200) for user in range(20)]
    scores = mask_seen(users @ items.T, seen)
    expected = top_items(scores, 10)[0]
    monkeypatch.setattr(item_index, "PROBED", 30)  # of 141
    rows, found = ItemIndex(items).best(users, 10, seen)
    shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(rows, expected, strict=True)]
    assert sum(shared) >= 0.95 * 200
    torch.testing.assert_close(found, scores.gather(1, rows))
    assert (found.diff(dim=1) <= 0).all()
    monkeypatch.setattr(item_index, "PROBED", 1)
    rows, _ = ItemIndex(items).best(users, 10, seen)
    hasty = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(rows, expected, strict=True)]
    assert sum(hasty) < sum(shared), "so few lists leave something out: the test would see it"


def test_a_small_catalogue_is_looked_through_whole() -> None:
    items, users = shop(1500)
    rows, best = ItemIndex(items).best(users, 10, [NOTHING] * 20)
    expected, exact = top_items(users @ items.T, 10)
    torch.testing.assert_close(best, exact)
    assert torch.equal(rows, expected)


def test_the_largest_product_is_found_not_the_nearest_vector() -> None:
    items = torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0], [-9.0, 0.0]])
    rows, best = ItemIndex(items).best(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 1, [NOTHING] * 2)
    assert rows.tolist() == [[1], [3]] and best.tolist() == [[5.0], [9.0]]


def test_items_that_were_had_are_left_out_however_many() -> None:
    items, users = shop(300)
    order = top_items(users @ items.T, 300)[0].numpy()
    had = [np.sort(row[: 10 * user]) for user, row in enumerate(order)]
    rows, _ = ItemIndex(items).best(users, 5, had)
    assert rows.tolist() == [row[10 * user : 10 * user + 5].tolist() for user, row in enumerate(order)]


def test_places_without_an_item_hold_minus_one() -> None:
    items, users = shop(6)
    rows, best = ItemIndex(items).best(users[:1], 10, [np.array([0, 2])])
    assert sorted(rows[0].tolist()) == [-1, -1, 1, 3, 4, 5]
    assert best[0, 4:].tolist() == [-torch.inf] * 2


def test_equal_scores_are_ordered_by_catalogue_row() -> None:
    rows, _ = ItemIndex(torch.ones(50, 3)).best(torch.ones(1, 3), 49, [np.array([1])])
    assert rows.tolist() == [[0, *range(2, 50)]]


def test_without_faiss_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Any = None
    monkeypatch.setitem(sys.modules, "faiss", absent)
    with pytest.raises(LorarecError, match=r"pip install 'lorarec\[index\]'"):
        ItemIndex(torch.ones(3, 2))
