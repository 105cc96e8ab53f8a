"""A model card has the test metrics in the Hub's format, and the rest as text."""

import math

from huggingface_hub import ModelCard

from lorarec.artifact.model_card import model_card

METRICS = {
    "validation": {"ndcg@10": 0.5, "coverage@10": 0.25},
    "test": {"ndcg@10": 0.375, "coverage@10": math.nan},
    "intervals": {
        "level": 0.95,
        "method": "bootstrap",
        "test": {"over": "users", "metrics": {"ndcg@10": {"low": 0.25, "high": 0.5, "resamples": 100}}},
    },
    "protocol": {"evaluated": "each held-out item among all 9 items"},
    "baselines": {"popularity": {"validation": {"ndcg@10": 0.1}, "test": {"ndcg@10": 0.125}}},
    "leaks": {},
    "trainable_weights": 10,
    "total_weights": 100,
    "best_step": 7,
    "monitor": "ndcg@10",
}
PARTS = {"backbone": "text", "adapter": "lora", "head": "next_item"}


def card(**changes) -> ModelCard:
    return model_card("mine", PARTS, "movielens", ["9 items"], METRICS | changes)


def test_each_finite_test_metric_is_a_result_on_the_hub() -> None:
    data = ModelCard(str(card())).data
    (result,), fields = data.eval_results, data.to_dict()
    assert (data.model_name, fields["library_name"], data.tags) == (
        "mine",
        "lorarec",
        ["recommendation", "lora", "next_item"],
    )
    assert (result.dataset_name, result.dataset_split) == ("movielens", "test")
    assert (result.metric_type, result.metric_name, result.metric_value) == ("ndcg", "ndcg@10", 0.375)


def test_a_run_without_a_test_part_has_a_card_without_results() -> None:
    data = ModelCard(str(card(test={}))).data
    assert data.to_dict()["library_name"] == "lorarec" and not data.eval_results


def test_the_text_has_intervals_baselines_the_protocol_and_how_to_load_the_run() -> None:
    text = card().text
    assert "| this model | 0.5000 | 0.2500 | 0.3750 |" in text
    assert "| its 95% interval |  |  | 0.2500 to 0.5000 |" in text
    assert "| popularity | 0.1000 |  | 0.1250 |" in text
    assert "- evaluated: each held-out item among all 9 items" in text
    assert "weights trained: 10 of 100 (10.00%)" in text
    assert 'lorarec.load("path/to/this/folder")' in text
