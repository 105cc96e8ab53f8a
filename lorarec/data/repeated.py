"""Repeated targets: held-out items that their user had before, which only some evaluations can rank."""

from __future__ import annotations

from collections.abc import Mapping

from lorarec.config.recipe import Seen


def repeated_line(repeated: Mapping[str, int], targets: Mapping[str, int], seen: Seen) -> str:
    """How many of the `targets` of each part were taken before, what `evaluate.seen` makes of them, and the other
    choice; empty if none were."""
    made = "makes them unreachable; `evaluate.seen=keep` lets them in" if seen == "mask" else "lets them in"
    counts = [f"{count:,} of {targets[part]:,} {part} targets" for part, count in repeated.items() if count]
    taken = f"{' and '.join(counts)} were taken before by the same user; `evaluate.seen: {seen}` {made}"
    return taken if counts else ""


def unreachable_rule(repeated: Mapping[str, int], targets: Mapping[str, int]) -> str:
    """The same for the protocol of an evaluation that masks seen items."""
    shares = [f"{part} {count:,} of {targets[part]:,}" for part, count in repeated.items() if count]
    return f"{', '.join(shares)}: their users had them before" if shares else ""
