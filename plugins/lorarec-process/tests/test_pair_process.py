"""The Gaussian process over pairs: the textbook's posterior, an exact gradient, and who rated what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lorarec_process import pair_process
from lorarec_process.pair_features import RaterSpectrum
from lorarec_process.pair_process import Features, PairProcess, PairSet, Spreads, expected

USERS, ITEMS = 6, 9


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Users and items of `count` random pairs, of which some repeat."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(USERS, (count,), generator=generator), torch.randint(ITEMS, (count,), generator=generator)


def process(seed: int = 0) -> PairProcess:
    generator = torch.Generator().manual_seed(seed)
    features = Features(
        torch.randn(ITEMS, 4, generator=generator).double(), torch.randn(USERS, 3, generator=generator).double()
    )
    spreads = Spreads(*(torch.rand(size, generator=generator).double() + 0.1 for size in (4, 3, 4, 3)))
    return PairProcess(features, spreads, torch.tensor(0.7).double())


def kernel(p: PairProcess, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    """[n, m] by the formula, for each two pairs."""
    (users, items), spreads = (p.features.users, p.features.items), p.spreads
    xx = [(items * spread) @ items.T for spread in (spreads.item, spreads.item_shared)]
    yy = [(users * spread) @ users.T for spread in (spreads.user, spreads.user_shared)]
    u, v, i, j = one[0][:, None], other[0][None], one[1][:, None], other[1][None]
    return (u == v) * xx[0][i, j] + (i == j) * yy[0][u, v] + xx[1][i, j] * yy[1][u, v]


def test_the_posterior_is_the_textbook_formula() -> None:
    p, seen, hidden = process(), drawn(20, 1), drawn(7, 2)
    target = torch.randn(20).double()
    gram = kernel(p, seen, seen) + p.noise * torch.eye(20).double()
    expected = kernel(p, hidden, seen) @ torch.linalg.solve(gram, target)
    pairs, order = PairSet.of(*seen, USERS, ITEMS)
    hidden_pairs, order_hidden = PairSet.of(*hidden, USERS, ITEMS)
    predicted = p.at(hidden_pairs, p.weights(pairs, p.solve(pairs, target[order], 1e-10)))
    torch.testing.assert_close(predicted, expected[order_hidden])


def test_a_weight_divides_the_noise_and_a_row_of_weight_0_has_no_effect() -> None:
    p, seen, hidden = process(), drawn(20, 1), drawn(7, 2)
    target, weight = torch.randn(20).double(), torch.rand(20).double() * 3
    weight[::4] = 0.0
    kept = weight > 0
    some = seen[0][kept], seen[1][kept]
    gram = kernel(p, some, some) + torch.diag(p.noise / weight[kept])
    expected = kernel(p, hidden, some) @ torch.linalg.solve(gram, target[kept])
    pairs, order = PairSet.of(*seen, USERS, ITEMS)
    hidden_pairs, order_hidden = PairSet.of(*hidden, USERS, ITEMS)
    predicted = p.at(hidden_pairs, p.weights(pairs, p.solve(pairs, target[order], 1e-10, weight[order])))
    torch.testing.assert_close(predicted, expected[order_hidden])


def test_items_without_pairs_and_users_without_any_change_nothing() -> None:
    p = process()
    pairs, _ = PairSet.of(torch.tensor([2, 2, 4]), torch.tensor([0, 8, 0]), USERS, ITEMS)
    weights = p.weights(pairs, torch.tensor([1.0, -1.0, 2.0]).double())
    assert weights.users[[0, 1, 3, 5]].abs().sum() == 0
    assert weights.items[1:8].abs().sum() == 0


def test_without_seen_pairs_the_prediction_is_0() -> None:
    p = process()
    none, _ = PairSet.of(*drawn(0, 0), USERS, ITEMS)
    hidden, _ = PairSet.of(*drawn(4, 1), USERS, ITEMS)
    assert expected(p, none, torch.zeros(0).double(), torch.zeros(0).double(), hidden).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("lightest", [1.0, 0.0])
def test_the_gradient_of_the_error_on_hidden_pairs_is_exact(monkeypatch: pytest.MonkeyPatch, lightest: float) -> None:
    monkeypatch.setattr(pair_process, "ROUGH", 1e-12)
    start = process()
    seen, _ = PairSet.of(*drawn(20, 1), USERS, ITEMS)
    hidden, _ = PairSet.of(*drawn(7, 2), USERS, ITEMS)
    generator = torch.Generator().manual_seed(3)
    target, truth = (torch.randn(n, generator=generator).double() for n in (20, 7))
    weight = torch.linspace(lightest, 1.0, 20).double()

    def error(*given: Tensor) -> Tensor:
        changed = PairProcess(Features(given[0], given[1]), Spreads(*given[2:6]), given[6])
        return (expected(changed, seen, target, weight, hidden) - truth).abs().pow(1.5).sum()

    given = [x.clone().requires_grad_() for x in (*start.features, *start.spreads, start.noise)]
    torch.autograd.backward(error(*given))
    for index, tensor in enumerate(given):
        assert tensor.grad is not None
        along = torch.randn(tensor.shape, generator=generator).double()
        step = 1e-5 * along
        ends = [
            [x.detach() + sign * step if n == index else x.detach() for n, x in enumerate(given)] for sign in (1, -1)
        ]
        slope = (error(*ends[0]) - error(*ends[1])) / 2e-5
        torch.testing.assert_close((tensor.grad * along).sum(), slope.detach(), rtol=1e-4, atol=1e-5)


def test_items_of_the_same_raters_are_similar_and_others_are_not() -> None:
    user = torch.arange(40).repeat_interleave(5)
    # Users of one parity rate items of that parity.
    item = torch.cat(
        [torch.randperm(10, generator=torch.Generator().manual_seed(u))[:5] * 2 + u % 2 for u in range(40)]
    )
    pairs, _ = PairSet.of(user, item, 40, 21)
    spectrum = RaterSpectrum.of(pairs, 4)
    vectors = spectrum.of_items(torch.arange(21))
    similarity = vectors @ vectors.T
    assert similarity[:20:2, :20:2].mean() > 0.5
    assert similarity[:20:2, 1:20:2].mean() < -0.5
    assert vectors[20].abs().sum() == 0, "it has no ratings"


def test_a_history_gives_the_vector_of_the_user_who_has_it() -> None:
    user, item = drawn(30, 5)
    pairs, _ = PairSet.of(user, item, USERS, ITEMS)
    spectrum = RaterSpectrum.of(pairs, 3)
    mine = item[user == 2]
    history, mask = torch.cat([mine, torch.zeros(2).long()])[None], torch.tensor([[True] * len(mine) + [False] * 2])
    torch.testing.assert_close(spectrum.of_histories(history, mask)[0], spectrum.of_users(pairs)[2])


def test_dimensions_beyond_the_rank_are_empty() -> None:
    pairs, _ = PairSet.of(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), 2, ITEMS)
    spectrum = RaterSpectrum.of(pairs, 8)
    assert spectrum.raters.shape == (ITEMS, 8)
    assert torch.isfinite(spectrum.raters).all()
    assert spectrum.strength[1:].abs().sum() == 0


def test_a_solution_that_does_not_converge_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_process, "ITERATIONS", 1)
    pairs, _ = PairSet.of(*drawn(20, 1), USERS, ITEMS)
    with pytest.warns(RuntimeWarning, match=r"after 1 iterations the relative residual is \d+\.\d%"):
        process().solve(pairs, torch.randn(20).double(), 1e-10)
