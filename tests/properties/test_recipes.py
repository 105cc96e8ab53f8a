"""Mutants of recipes and overrides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from lorarec.config.recipe_file import recipe_files

BUNDLED = [file for file in recipe_files() if file.suffix == ".yaml"]


@pytest.fixture(autouse=True)
def only_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` ends once the recipe is read and its plugins are built: data and models are tested elsewhere."""
    from lorarec.pipeline import check

    class Report:
        def lines(self) -> list[str]:
            return ["resolved"]

    def resolved(recipe: str, overrides: list[str]) -> Report:
        check.open_recipe(recipe, overrides)
        return Report()

    monkeypatch.setattr(check, "check", resolved)


def test_a_recipe_with_characters_changed_is_refused_or_read(
    seed: int, draw: Random, here: Path, refused: Callable[..., str | None]
) -> None:
    text = list(draw.choice(BUNDLED).read_text())
    for _ in range(draw.randint(1, 5)):
        text[draw.randrange(len(text))] = draw.choice("\0\t\n {}[]\"'&*!|>%@`:-#?,0~\ufeff\u2028é")
    (here / "mutant.yaml").write_text("".join(text))
    refused("check", "mutant.yaml")
