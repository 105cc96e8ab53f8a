"""Protocol: the rules that metrics were computed by, in words, so that only comparable metrics are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from lorarec.config.recipe import DataSection, SplitSection
from lorarec.contracts import Examples, Part

HISTORY = {
    "past": "events strictly before",
    "training": "all of the user's other training events, whatever their time",
}
SPLIT_FINGERPRINT = "split fingerprint"
TIED_TARGETS = "tied targets"
"""How often ties count against this model."""
UNREACHABLE = "unreachable targets"
"""How many held-out items are masked themselves."""
NO_RULES = (TIED_TARGETS, UNREACHABLE)
"""These are not compared: they follow from the model, or from the other rules and the rows."""


def protocol(
    data: DataSection, examples: Mapping[Part, Examples], fingerprint: str, own_histories: bool
) -> dict[str, str]:
    """Each rule by its name; `fingerprint` is that of the split, `own_histories` whether rows come with histories.

    Two runs with the same protocol were evaluated on the same rows in the same way; also if they differ in
    SPLIT_FINGERPRINT alone, which depends on the training rows and the items' texts as well.
    """
    held_out = examples[Part.TEST] if len(examples[Part.TEST]) else examples[Part.VALIDATION]
    return {
        "split": _split(data.split),
        "history": "as each row brings it" if own_histories else HISTORY[data.history.scope],
        **held_out.predictor.rules(held_out),
        "rows": ", ".join(f"{part.name.lower()} {len(examples[part]):,}" for part in (Part.VALIDATION, Part.TEST)),
        SPLIT_FINGERPRINT: fingerprint,
        "test fingerprint": examples_fingerprint(examples[Part.TEST]),
    }


def protocol_lines(rules: Mapping[str, str]) -> list[str]:
    """For people to read; fingerprints are shortened."""
    return [f"{name}: {rule[:16] if name.endswith('fingerprint') else rule}" for name, rule in rules.items()]


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Each rule in which two protocols differ, in words."""
    first, second = _with_present_names(first), _with_present_names(second)
    names = [*first, *(name for name in second if name not in first)]
    return [
        f"{name}: {first.get(name, 'not said')} / {second.get(name, 'not said')}"
        for name in names
        if name not in NO_RULES and first.get(name) != second.get(name)
    ]


def _with_present_names(rules: Mapping[str, str]) -> dict[str, str]:
    """The protocol of a run of any format: up to 2 it says "judged", also of a column, and "catalogue"."""

    def present(rule: str) -> str:
        rule = rule.replace("items of the catalogue", "items of the catalog")
        return rule.replace("of the users whose 'judged' is true", "of the users whose 'eval_users' is true")

    return {{"judged": "evaluated"}.get(name, name): present(rule) for name, rule in rules.items()}


def examples_fingerprint(examples: Examples) -> str:
    """SHA-256 of every example's event, item and user, in order, and of what the predictor asks about them."""
    digest = hashlib.sha256()
    if len(examples):
        for column in (examples.events, examples.items, examples.users):
            digest.update(column.astype("<i8").tobytes())
        for more in examples.predictor.asked(examples):
            digest.update(more)
    return digest.hexdigest()


def _split(section: SplitSection) -> str:
    shares = f"{section.validation:.0%} validation, {section.test:.0%} test"
    evaluated = f", of the users whose '{section.users}' is true" if section.users else ""
    return {
        "time": f"by time: the latest events are held out ({shares})",
        "last": f"by user: the last event is test, the one before it validation{evaluated}",
        "random": f"random rows ({shares})",
        "column": f"as the data's column '{section.column}' says",
    }[section.by]
