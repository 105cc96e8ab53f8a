"""Evaluation keeps a sample of the item vectors for guards to check."""

from lorarec.evaluation.evaluate import SAMPLED, sample_of


def test_all_of_a_small_catalog_and_some_of_a_large_one_are_sampled():
    assert len(sample_of(10)) == 10 and len(sample_of(1_000_000)) <= 2 * SAMPLED
