"""Protocol: under which rules numbers came about, in words, so that no two are compared which mean different things."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from lorarec.config.recipe import DataSection, SplitSection
from lorarec.contracts import Part, TaskHead
from lorarec.engine.examples import Examples

HISTORY = {
    "past": "events strictly before",
    "training": "all of the user's other training events, whatever their time",
}
SPLIT_FINGERPRINT = "split fingerprint"


def protocol(
    data: DataSection, examples: Mapping[Part, Examples], fingerprint: str, own_histories: bool
) -> dict[str, str]:
    """Rule by rule; `fingerprint` is that of the split, `own_histories` whether rows bring theirs.

    Two runs with the same protocol were judged on the same rows in the same way; also if they differ in
    SPLIT_FINGERPRINT alone, which knows of what they learnt from and of the items' texts besides.
    """
    held_out = examples[Part.TEST] if len(examples[Part.TEST]) else examples[Part.VALIDATION]
    retrieval = held_out.head.kind == "retrieval"
    return {
        "split": _split(data.split),
        "history": "as each row brings it" if own_histories else HISTORY[data.history.scope],
        "judged": _judged(held_out),
        "seen items": "masked: what the user had before is out of the ranking" if retrieval else "not ranked",
        "ties": _ties(held_out.head),
        "rows": ", ".join(f"{part.name.lower()} {len(examples[part]):,}" for part in (Part.VALIDATION, Part.TEST)),
        SPLIT_FINGERPRINT: fingerprint,
        "test fingerprint": examples_fingerprint(examples[Part.TEST]),
    }


def protocol_lines(rules: Mapping[str, str]) -> list[str]:
    """For people; fingerprints are cut short."""
    return [f"{name}: {rule[:16] if name.endswith('fingerprint') else rule}" for name, rule in rules.items()]


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Each rule in which two protocols differ, in words."""
    names = [*first, *(name for name in second if name not in first)]
    return [
        f"{name}: {first.get(name, 'not said')} / {second.get(name, 'not said')}"
        for name in names
        if first.get(name) != second.get(name)
    ]


def examples_fingerprint(examples: Examples) -> str:
    """SHA-256 of what is asked: every example's event, item, user and label, or what is masked for it, in order."""
    digest = hashlib.sha256()
    columns: Sequence[np.ndarray] = (examples.events, examples.items, examples.users) if len(examples) else ()
    for column in columns:
        digest.update(column.astype("<i8").tobytes())
    if len(examples) and examples.head.kind == "pointwise":
        digest.update(examples.labels().astype("<f8").tobytes())
    elif len(examples):
        for event in examples.events.tolist():
            digest.update(examples.collation.histories.seen(event).astype("<i8").tobytes() + b"|")
    return digest.hexdigest()


def _ties(head: TaskHead) -> str:
    if head.kind == "retrieval":
        return "count against the model"
    return "count half in AUC" if head.label() == "click" else "no matter to the metrics of a regression"


def _split(section: SplitSection) -> str:
    shares = f"{section.validation:.0%} validation, {section.test:.0%} test"
    judged = f", of the users whose '{section.users}' is true" if section.users else ""
    return {
        "time": f"by time: the latest events are held out ({shares})",
        "last": f"by user: the last event is test, the one before it validation{judged}",
        "random": f"random rows ({shares})",
        "column": f"as the data's column '{section.column}' says",
    }[section.by]


def _judged(examples: Examples) -> str:
    head: TaskHead = examples.head
    if head.kind == "retrieval":
        return f"each held-out item among all {examples.collation.catalog_size:,} items of the catalogue"
    label = head.label()
    if label in head.needs():
        return f"every held-out row by its {label}"
    seed = examples.collation.negatives.seed
    return f"every held-out row beside items that its user has not had, drawn once and for all by seed {seed}"
