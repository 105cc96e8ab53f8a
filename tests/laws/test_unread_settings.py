"""Settings of a backbone that do nothing with the recipe's head are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lorarec.contracts import View
from lorarec.errors import RecipeError
from lorarec.pipeline.check import check
from lorarec_backbones.text import TextBackbone

Make = Callable[..., dict[str, Any]]
JOINT = {"name": "ctr", "encoding": "joint", "max_history": 3}
HISTORIES = {"name": "next_item", "encoder": "backbone", "width": 16}
OF_HISTORY, OF_PAIR = {"history": "so far {history}"}, {"pair": "{history} {candidate}"}
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "items alone, a pair": ({}, {"templates": OF_PAIR}, r"backbone\.templates\.pair would do nothing .* single items"),
    "items alone, a history": ({}, {"templates": OF_HISTORY}, r"backbone\.templates\.history would do nothing"),
    "items alone, both": ({}, {"templates": OF_HISTORY | OF_PAIR}, r"templates\.history, backbone\.templates\.pair"),
    "items alone, words": ({}, {"templates": {"listed": "{text}", "empty": "none"}}, r"templates\.listed, .*\.empty"),
    "pairs": ({"head": JOINT}, {"templates": OF_HISTORY}, r"templates\.history would .* reads pairs of a history and"),
    "histories": ({"head": HISTORIES}, {"templates": OF_PAIR}, r"templates\.pair would .* reads histories\. Leave it"),
}
READ: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "items alone": ({}, {"templates": {"item": "a {title}"}}),
    "dropout, with another adapter swapped in": ({"adapter": "frozen"}, {"dropout": True}),
    "pairs": ({"head": JOINT}, {"templates": OF_PAIR | {"listed": "{text}", "empty": "none"}}),
    "pairs, a template of histories for other heads": ({"head": JOINT}, {"templates": OF_PAIR | OF_HISTORY}),
    "histories": ({"head": HISTORIES}, {"templates": OF_HISTORY | {"seen": "had {items}"}}),
}


def made(recipe: Make, parts: dict[str, Any], backbone: dict[str, Any]) -> dict[str, Any]:
    whole = recipe(**parts, callbacks=[], train={"max_steps": 1, "epochs": 1})
    return whole | {"backbone": backbone if "name" in backbone else whole["backbone"] | backbone}


@pytest.mark.parametrize("case", REFUSED)
def test_a_setting_that_nothing_reads_is_refused_by_name(case: str, recipe: Make) -> None:
    parts, backbone, says = REFUSED[case]
    with pytest.raises(RecipeError, match=says):
        check(made(recipe, parts, backbone))


@pytest.mark.parametrize("case", READ)
def test_a_setting_that_is_read_is_not_refused(case: str, recipe: Make) -> None:
    check(made(recipe, *READ[case]))


def test_histories_are_seen_though_the_first_example_has_none(recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    views: list[View] = []
    monkeypatch.setattr(TextBackbone, "unread_settings", lambda self, given: views.extend(given) or [])
    check(made(recipe, {"head": JOINT}, {}))
    assert not views[0].history and any(view.history for view in views)
