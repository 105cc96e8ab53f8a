"""Random streams: no two purposes share their numbers, and no other module draws any."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from lorarec.data.streams import Purpose, derived_seed, generator

ROOT = Path(__file__).resolve().parents[2]


def test_no_two_purposes_or_moments_share_a_stream() -> None:
    keys = [
        (seed, purpose, moment)
        for seed in (0, 1, 2**32 - 1)
        for purpose in Purpose
        for moment in product((0, 1, 7), repeat=purpose.value[1])
    ]
    first = {generator(seed, purpose, *moment).integers(2**63) for seed, purpose, moment in keys}
    assert len(first) == len(keys)


def test_a_stream_starts_from_its_beginning_each_time() -> None:
    draws = [generator(5, Purpose.EPOCH_ORDER, 3).integers(2**63) for _ in range(2)]
    assert draws[0] == draws[1]
    assert derived_seed(5, Purpose.HEAD_WEIGHTS) == derived_seed(5, Purpose.HEAD_WEIGHTS)


@pytest.mark.parametrize("moment", [(), (1, 2)])
def test_a_moment_of_another_length_is_refused_as_padding_would_hide_it(moment: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="EPOCH_ORDER takes 1 numbers"):
        generator(5, Purpose.EPOCH_ORDER, *moment)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_number_that_would_take_two_words_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="EPOCH_ORDER"):
        generator(5, Purpose.EPOCH_ORDER, number)


def test_the_core_has_no_other_generator_of_numpy() -> None:
    """Except the laws in lorarec.testing, which draw their own data."""
    drawing = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "lorarec").rglob("*.py"))
        if any(word in path.read_text(encoding="utf-8") for word in ("default_rng(", "SeedSequence("))
    ]
    assert [path for path in drawing if not path.startswith("lorarec/testing/")] == ["lorarec/data/streams.py"]
