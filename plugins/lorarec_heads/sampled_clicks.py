"""Clicks against sampled items: which facts there are, and which item each one is about."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from lorarec.contracts import Collation, DataError, Interactions, Part


def sampled_examples(interactions: Interactions, part: Part, negatives: int) -> Dataset:
    """Rows of (event, draw, label): draw 0 is the item chosen, 1 to `negatives` are items drawn beside it."""
    events = interactions.rows(part)
    draw = np.tile(np.arange(1 + negatives), len(events))
    return Dataset.from_dict(
        {"event": np.repeat(events, 1 + negatives), "draw": draw, "label": (draw == 0).astype(np.float64)}
    )


def candidates_of(rows: dict[str, np.ndarray], chosen: np.ndarray, negatives: int, collation: Collation) -> np.ndarray:
    """[B] the item of each row: the one chosen, or the one drawn as a function of (seed, epoch, event) that
    the user has not had. Outside training the epoch counts as 0, so that all evaluations see the same
    items."""
    candidates = chosen.copy()
    epoch = collation.epoch if collation.training else 0
    for place in np.flatnonzero(rows["draw"] > 0):
        event, draw = int(rows["event"][place]), int(rows["draw"][place])
        had = np.append(collation.histories.seen(event), chosen[place])
        drawn = collation.negatives.for_row(epoch, event, negatives, had)
        if draw > len(drawn):
            raise DataError(
                f"Event {event}: its user has had all but {len(drawn)} of the {collation.catalog_size} "
                f"items, so "
                f"{negatives} others cannot be drawn. Lower head.negatives."
            )
        candidates[place] = drawn[draw - 1]
    return candidates
