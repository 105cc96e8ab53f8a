"""Kernel ridge regression equals the textbook formula; the quality of items and the taste of users."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lorarec_process.user_ridge import ItemQuality, UserRidge, kernel_ridge


def drawn(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Features of 7 items; candidates, histories, owners, residuals and noise of 2 users; in double precision."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(7, 3, generator=generator).double()
    candidate, history = torch.tensor([6, 0]), torch.tensor([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
    return (
        features,
        candidate,
        history,
        torch.arange(2),
        torch.randn(2, 6, generator=generator).double(),
        torch.tensor(0.7).double(),
    )


def test_ridge_regression_is_the_textbook_formula() -> None:
    features, candidate, history, owner, residual, noise = drawn()
    predicted = kernel_ridge(features, candidate, history, owner, residual, torch.ones(2, 6, dtype=torch.bool), noise)
    for user in range(2):
        x, y = features[history[user]], residual[user]
        weights = torch.linalg.solve(x.T @ x + noise * torch.eye(3).double(), x.T @ y)
        torch.testing.assert_close(predicted[user], weights @ features[candidate[user]])


def test_the_gradient_of_the_ridge_regression_is_exact() -> None:
    features, candidate, history, owner, residual, noise = drawn()
    mask = torch.tensor([[True, True, False, True, True, False], [False] * 6])
    assert torch.autograd.gradcheck(
        lambda f, r, n: kernel_ridge(f, candidate, history, owner, r, mask, n),
        (features.requires_grad_(), residual.requires_grad_(), noise.requires_grad_()),
    )


def test_events_without_feedback_and_padding_have_no_effect() -> None:
    features, candidate, history, owner, residual, noise = drawn()
    mask = torch.tensor([[False, True, False, True, False, False]] * 2)
    predicted = kernel_ridge(features, candidate, history, owner, residual, mask, noise)
    kept = [1, 3]
    alone = kernel_ridge(features, candidate, history[:, kept], owner, residual[:, kept], mask[:, kept], noise)
    torch.testing.assert_close(predicted, alone)


def test_many_items_give_the_same_result_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    features, candidate, history, owner, residual, noise = drawn()
    mask = torch.ones(2, 6, dtype=torch.bool)
    looked_up = kernel_ridge(features, candidate, history, owner, residual, mask, noise)
    monkeypatch.setattr("lorarec_process.user_ridge.GRAM_LIMIT", 0)
    gathered = kernel_ridge(features, candidate, history, owner, residual, mask, noise)
    torch.testing.assert_close(gathered, looked_up)


def shared_histories(histories: int, items: int) -> tuple[torch.Tensor, ...]:
    """Features of 9 items; each history with the same candidates: candidates, histories of 4 events, owners."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(9, 3, generator=generator).double(),
        torch.arange(items).repeat(histories),
        torch.randint(0, 9, (histories, 4), generator=generator),
        torch.arange(histories).repeat_interleave(items),
    )


def test_the_ridge_regression_of_shared_histories_is_that_of_each_target() -> None:
    features, candidate, history, owner = shared_histories(3, 8)
    residual, noise = torch.randn(3, 4).double(), torch.tensor(0.7).double()
    mask = torch.tensor([[True] * 4, [False, True, False, True], [False] * 4])
    together = kernel_ridge(features, candidate, history, owner, residual, mask, noise)
    zero = torch.zeros(1).long()
    alone = [
        kernel_ridge(features, candidate[f, None], history[o], zero, residual[o], mask[o], noise)
        for f, o in enumerate(owner[:, None])
    ]
    torch.testing.assert_close(together, torch.cat(alone))
    assert torch.autograd.gradcheck(
        lambda x, r, n: kernel_ridge(x, candidate, history, owner, r, mask, n),
        (features.requires_grad_(), residual.requires_grad_(), noise.requires_grad_()),
    )


def ridge(features: list[np.ndarray] | None = None, unlabeled: float = 0.0) -> UserRidge:
    return UserRidge(0.5, np.ones(4, bool), 3, features or [], unlabeled)


def logits(head: UserRidge, liked: list[list[float]], texts: torch.Tensor | None = None) -> torch.Tensor:
    """Candidate 0 after a history of items 1, 2, 3."""
    texts = torch.tensor([[5.0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 5]]) if texts is None else texts
    rows = len(liked)
    history = torch.tensor([[1, 2, 3]] * rows)
    seen = (history, torch.arange(rows), torch.ones_like(history, dtype=torch.bool), torch.tensor(liked))
    with torch.no_grad():
        scored: torch.Tensor = head(torch.arange(4), texts, torch.zeros(rows, dtype=torch.int64), *seen)
    return scored


def test_a_like_of_a_similar_text_counts_more_than_one_of_another() -> None:
    same, other, none = logits(ridge(), [[1, -1, -1], [-1, 1, -1], [0, 0, 0]])
    assert same > other and none == 0


def test_likes_of_items_with_the_same_columns_count_more() -> None:
    flat = torch.ones(4, 3) * torch.tensor([1.0, 2.0, 3.0])  # all texts are equal
    genres = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    same, other = logits(ridge([genres]), [[-1, 1, -1], [1, -1, -1]], flat)
    assert same > other


def test_an_event_without_feedback_counts_as_liked_only_where_all_are_clicks() -> None:
    assert logits(ridge(unlabeled=1.0), [[0, 0, 0]]) > 0 == logits(ridge(), [[0, 0, 0]])


def test_the_quality_of_a_text_is_shared_by_similar_items() -> None:
    quality = ItemQuality(np.ones(3, bool), 2, [])
    with torch.no_grad():
        assert quality.own is not None and quality.text is not None
        quality.own[0], quality.text[0] = 1.0, 1.0
    texts = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    own, similar, other = quality(torch.arange(3), texts, []).tolist()
    assert own > similar > other == 0


def test_the_quality_of_a_column_is_shared_by_its_items() -> None:
    quality = ItemQuality(np.zeros(0, bool), 0, [2])
    with torch.no_grad():
        quality.columns[0][0] = 1.0
    having, lacking = quality(torch.arange(2), None, [torch.eye(2)]).tolist()
    assert having > lacking == 0
