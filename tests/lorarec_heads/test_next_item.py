"""The next-item head: windows, losses over the catalog, sequence encoders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from lorarec.contracts import DataError, IncompatibleError, Part, Statistics, VectorPredictor
from lorarec.engine.guards import collapsed
from lorarec.testing import made
from lorarec_heads.next_item.network import CausalTransformer, ItemTower, NextItemNetwork, RunningMean, similar_lengths
from lorarec_heads.next_item.task import NextItem
from lorarec_losses.next_item import CrossEntropy, GeneralizedBce, SampledCrossEntropy

World = Any


def head_of(**options: Any) -> NextItem:
    return made(NextItem, **{"width": 8, **options})


@pytest.mark.parametrize("split", [{"by": "last"}, {"by": "time"}, {"by": "random"}])
@pytest.mark.parametrize("length", [1, 3, 50])
def test_each_training_event_with_a_past_is_a_target_once(
    world: Callable[..., World], split: dict[str, str], length: int
) -> None:
    toy = world(head_of(max_history=length), split=split)
    examples, histories = toy.examples(), toy.data.histories
    found: Counter[int] = Counter()
    for event, targets in zip(examples.events, examples.table["targets"], strict=True):
        past = histories.before(int(event)).events
        found.update([*past[len(past) - targets + 1 :].tolist(), int(event)])
    train = toy.data.interactions.rows(Part.TRAIN)
    assert found == Counter(train[histories.lengths(train) > 0].tolist())
    assert examples.batch(np.arange(len(examples))).count == len(found)


def test_a_target_is_the_event_after_the_history_it_is_told_from(world: Callable[..., World]) -> None:
    toy = world(head_of(max_history=4), split={"by": "last"})
    examples = toy.examples()
    batch = examples.batch(np.arange(len(examples)))
    items = batch.tensors["items"][batch.tensors["history"]].numpy()
    for row, event in enumerate(examples.events):
        sequence = [*toy.data.histories.before(int(event), 4).items, toy.data.interactions.item[event]]
        for place in range(1, 5):
            target = int(batch.tensors["targets"][row, -place])
            if target >= 0:
                assert target == sequence[-place]
                assert items[row, -place] == sequence[-place - 1]


def test_histories_of_the_future_are_refused(world: Callable[..., World]) -> None:
    toy = world(head_of(), split={"by": "random"}, history={"scope": "training"})
    with pytest.raises(DataError, match=r"data\.history\.scope=past"):
        toy.examples()


@pytest.mark.parametrize("encoder", [CausalTransformer(8, 2, 2, 0.0, 6), RunningMean(8)])
def test_a_state_knows_nothing_of_what_comes_after(encoder: nn.Module) -> None:
    torch.manual_seed(0)
    for weight in encoder.parameters():
        nn.init.normal_(weight, std=0.5)
    events, mask = torch.randn(3, 6, 8), torch.ones(3, 6, dtype=torch.bool)
    mask[1, :3] = False
    before = encoder.eval()(events, mask)
    events[:, 4:] = torch.randn(3, 2, 8)
    after = encoder(events, mask)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize("encoder", [CausalTransformer(8, 2, 2, 0.0, 6), RunningMean(8)])
def test_padding_changes_no_state(encoder: nn.Module) -> None:
    torch.manual_seed(0)
    for weight in encoder.parameters():
        nn.init.normal_(weight, std=0.5)
    events = torch.randn(1, 3, 8)
    plain = encoder.eval()(events, torch.ones(1, 3, dtype=torch.bool))
    padded = torch.cat([torch.randn(1, 3, 8), events], dim=1)
    mask = torch.tensor([[False] * 3 + [True] * 3])
    torch.testing.assert_close(encoder(padded, mask)[:, 3:], plain)


def test_sampled_softmax_is_the_full_one_where_every_item_is_drawn() -> None:
    torch.manual_seed(0)
    users, items, target = torch.randn(6, 4), torch.randn(9, 4), torch.randint(9, (6,))
    scores = users @ items.T
    hit = torch.arange(9) == target[:, None]
    sampled = SampledCrossEntropy()(scores.gather(1, target[:, None])[:, 0], scores, hit, torch.ones(9))
    torch.testing.assert_close(sampled, CrossEntropy(0.0)(scores, target))


def test_logq_makes_the_sum_over_the_draws_that_over_the_catalogue() -> None:
    """exp(loss) - 1 is the sum over the negatives, relative to the target: its mean over all that could be drawn."""
    torch.manual_seed(0)
    scores, target = torch.randn(7), 3
    share = torch.tensor([0.4, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02])
    mean = 0.0
    for item in range(7):
        hit = torch.tensor([[item == target]])
        loss = SampledCrossEntropy()(scores[[target]], scores[[item]][None], hit, share[[item]])
        mean += float(share[item] * (loss.exp() - 1))
    others = [item for item in range(7) if item != target]
    assert mean == pytest.approx(float((scores[others] - scores[target]).exp().sum()), rel=1e-5)


def test_gbce_is_the_papers_formula_spelled_out() -> None:
    torch.manual_seed(0)
    own, others, size, calibration = torch.randn(2), torch.randn(2, 3), 11, 0.75
    hit = torch.tensor([[False, False, False], [False, True, False]])
    expected = 0.0
    for target in range(2):
        kept = others[target][~hit[target]]
        rate = len(kept) / (size - 1)
        beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
        likelihood = (own[target].sigmoid() ** beta).log() + (1 - kept.sigmoid()).log().sum()
        expected -= float(likelihood) / (len(kept) + 1)
    assert float(GeneralizedBce(size, calibration)(own, others, hit, torch.ones(3)).sum()) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_target_drawn_as_its_own_negative_is_left_out() -> None:
    """Only the target is drawn: nothing is left to tell it apart from, so nothing is lost."""
    own, others, hit = torch.ones(1), torch.ones(1, 1), torch.tensor([[True]])
    assert SampledCrossEntropy()(own, others, hit, torch.ones(1)).item() == 0.0
    assert GeneralizedBce(5, 0.0)(own, others, hit, torch.ones(1)).item() == pytest.approx(
        float(nn.functional.softplus(-own).sum())
    )


def test_targets_of_a_batch_are_each_others_negatives(world: Callable[..., World]) -> None:
    toy = world(head_of(loss="sampled_softmax", negatives=2, sampling="mixed_in_batch"), split={"by": "last"})
    examples = toy.examples()
    batch = examples.batch(np.arange(4), 0, 3)
    drawn = batch.tensors["items"][batch.tensors["drawn"]].tolist()
    targets = batch.tensors["targets"]
    uniform = examples.collation.negatives.for_step(0, 3, 2).tolist()
    assert drawn == sorted({*targets[targets >= 0].tolist(), *uniform})
    assert len(drawn) == len(batch.tensors["expected"]) > 2


def test_label_smoothing_spreads_the_targets_weight_over_the_catalogue() -> None:
    torch.manual_seed(0)
    users, items, target = torch.randn(6, 4), torch.randn(9, 4), torch.randint(9, (6,))
    log = (users @ items.T).log_softmax(dim=1)
    expected = -(0.9 * log.gather(1, target[:, None]).sum() + 0.1 * log.mean(dim=1).sum())
    torch.testing.assert_close(CrossEntropy(0.1)(users @ items.T, target).sum(), expected)


def test_a_window_with_a_stride_predicts_its_latest_events_from_a_longer_past(world: Callable[..., World]) -> None:
    toy = world(head_of(max_history=6, stride=2), split={"by": "last"})
    examples = toy.examples()
    assert max(examples.table["targets"]) == 2
    batch = examples.batch(np.arange(len(examples)))
    read = batch.tensors["mask"].sum(dim=1)
    whole = torch.from_numpy(toy.data.histories.lengths(examples.events))
    assert torch.equal(read, whole.clamp(max=6))


def test_a_set_temperature_divides_the_scores_and_does_not_train(world: Callable[..., World]) -> None:
    warm, cold = (world(head_of(temperature=t, ids=False)) for t in (1.0, 0.25))
    batch = warm.examples(Part.TEST).batch(np.arange(5))
    heads = [toy.build().eval() for toy in (warm, cold)]
    assert "log_scale" not in dict(heads[0].named_parameters())
    assert "log_scale" in dict(world(head_of()).build().named_parameters())
    plain, sharp = (head.user_vectors(warm.encoder(batch), batch) for head in heads)
    torch.testing.assert_close(sharp[:, :-1], plain[:, :-1] * 4)
    torch.testing.assert_close(sharp[:, -1], plain[:, -1])


def test_rare_items_are_raised_where_items_are_ranked_and_not_in_training(world: Callable[..., World]) -> None:
    plain, raised = (world(head_of(rare_boost=boost, dropout=0.0), split={"by": "time"}) for boost in (0.0, 1.5))
    counts = torch.from_numpy(plain.data.statistics.item_counts)
    rows, rare = torch.arange(len(counts)), counts <= 5
    assert rare.any() and not rare.all()
    heads = plain.build(), raised.build()
    before, after = (head.item_vectors(plain.vectors, rows) for head in heads)
    torch.testing.assert_close(after - before, torch.nn.functional.pad(1.5 * rare[:, None].float(), (8, 0)))
    batch = plain.examples().batch(np.arange(8))
    torch.testing.assert_close(plain.loss(heads[0], batch), plain.loss(heads[1], batch))


def test_dropout_of_item_vectors_is_for_training_alone(world: Callable[..., World]) -> None:
    toy = world(head_of(vector_dropout=0.5, dropout=0.0), split={"by": "last"})
    head, batch = toy.build(), toy.examples().batch(np.arange(8))
    assert toy.loss(head.train(), batch) != toy.loss(head, batch)
    rows = torch.arange(len(toy.vectors))
    assert torch.equal(head.item_vectors(toy.vectors, rows), head.eval().item_vectors(toy.vectors, rows))


def test_histories_of_like_length_are_read_together_and_each_once() -> None:
    lengths = torch.tensor([0, 1, 2, 3, 4, 7, 8, 20, 5, 1])
    mask = torch.arange(20).flip(0) < lengths[:, None]
    groups = list(similar_lengths(mask))
    assert sorted(row for rows, _ in groups for row in rows.tolist()) == list(range(10))
    for rows, longest in groups:
        assert longest == max(1, int(lengths[rows].max()))
        assert longest < 2 * max(1, int(lengths[rows].min())) + 1


def test_it_starts_as_popularity_and_learns_more(world: Callable[..., World], events: dict[str, list[Any]]) -> None:
    """Each user goes through the catalog two by two: what comes next follows from the last item alone."""
    events["item"] = [(user + 2 * (row % 20)) % 23 for row, user in enumerate(events["user"])]
    toy = world(head_of(width=16), split={"by": "last"})
    head = toy.build()
    held_out = toy.examples(Part.TEST)
    batch = held_out.batch(np.arange(len(held_out)))

    def hits() -> float:
        with torch.no_grad():
            head.eval()
            users = head.user_vectors(toy.encoder(batch), batch)
            vectors = head.item_vectors(toy.vectors, torch.arange(len(toy.vectors)))
        best = (users @ vectors.T).argmax(dim=1)
        return float((best == torch.from_numpy(held_out.items)).float().mean())

    at_birth = hits()
    toy.train(head, steps=80)
    assert at_birth < 0.5 < hits()


def test_backbone_steps_need_a_backbone_that_has_them(world: Callable[..., World]) -> None:
    toy = world(head_of(encoder="backbone_steps"))
    with pytest.raises(IncompatibleError, match="sasrec"):
        toy.loss(toy.build(), toy.examples().batch(np.arange(4)))


def test_a_catalogue_of_one_item_is_refused(world: Callable[..., World]) -> None:
    statistics = world(head_of()).data.statistics
    alone = type(statistics)(np.array([3]), np.array([3]), 0.0, 0.0, 1.0, 0.5)
    with pytest.raises(DataError, match="one item"):
        head_of().build(12, alone)


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "mean", "layers": 2},
        {"encoder": "backbone", "feedback": True},
        {"ids": False, "id_dropout": 0.1},
        {"negatives": 5},
        {"sampling": "mixed"},
        {"loss": "gbce", "sampling": "mixed"},
        {"loss": {"name": "sampled_softmax", "calibration": 0.5}},
        {"calibration": 0.5},
        {"label_smoothing": 0.1},
        {"encoder": "backbone", "stride": 3},
        {"max_history": 10, "stride": 11},
        {"width": 9, "heads": 2},
    ],
)
def test_options_that_would_do_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(NextItem, **options)


def test_feedback_that_the_data_does_not_hold_is_refused(world: Callable[..., World]) -> None:
    with pytest.raises(DataError, match=r"head\.feedback tells what was liked, but the data has no column"):
        world(head_of(feedback=True)).examples()


def test_popularity_makes_items_neither_alike_nor_unlike() -> None:
    counts = np.array([0, 3, 50, 900])
    network = NextItemNetwork(
        made(NextItem, width=8, ids=False).config, 12, Statistics(counts, counts, 0.0, 0.0, 1.0, 0.5)
    )
    table = torch.ones(4, 12).cumsum(dim=1)  # one text for all
    with torch.no_grad():
        assert not collapsed(network.item_vectors(table, torch.arange(4))), "biases differ"
        assert collapsed(VectorPredictor(head_of()).similarity_vectors(network, table, torch.arange(4)))


def test_weights_grow_with_the_items_seen_not_with_the_catalog() -> None:
    seen = np.zeros(10_000)
    seen[:3] = 1
    tower = ItemTower(8, 16, seen, ids=True, id_dropout=0.0)
    matrices = [weight for weight in tower.parameters() if weight.ndim == 2]
    assert max(len(weight) for weight in matrices) <= 16


def test_a_share_of_the_items_goes_without_their_own_vector_in_training_alone() -> None:
    tower = ItemTower(8, 16, np.ones(2000), ids=True, id_dropout=0.25)
    text, items = torch.zeros(2000, 8), torch.arange(2000)
    plain = tower.eval()(text, items)[0]
    dropped = (tower.train()(text, items)[0] - plain).abs().sum(dim=1) > 0
    assert 0.2 < dropped.float().mean() < 0.3
