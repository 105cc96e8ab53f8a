"""The paths, contracts and layers in docs/architecture.md exist."""

import importlib
import re
import tomllib
from pathlib import Path

from lorarec.registry.discover import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ELSEWHERE = {"Recipe": "lorarec.config.recipe", "ResolvedRecipe": "lorarec.registry.resolve",
             "RecModel": "lorarec.model.rec_model", "Fit": "lorarec.engine.fit",
             "Recommender": "lorarec.inference.recommender"}  # fmt: skip
"""Names of the page that plugins do not need, and the modules that define them."""


def named_classes() -> set[str]:
    """Every word of the page that looks like a class name."""
    return set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b|\b(?:Batch|Views|Head|Adapter|Backbone|Metric|Callback)\b", PAGE))


def layers() -> list[str]:
    """Layers of import-linter's contract, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (declared,) = [each["layers"] for each in contracts if each["type"] == "layers"]
    return [name.strip() for layer in declared for name in layer.split(":")]


def test_every_class_that_the_page_names_exists() -> None:
    missing = [
        name
        for name in sorted(named_classes())
        if not hasattr(importlib.import_module(ELSEWHERE.get(name, "lorarec.contracts")), name)
    ]
    assert not missing


def test_every_contract_of_a_plugin_kind_is_on_the_page() -> None:
    assert [kind.contract.__name__ for kind in KINDS.values() if f"`{kind.contract.__name__}`" not in PAGE] == []


def test_the_table_of_layers_equals_the_import_contracts() -> None:
    table = PAGE.split("## Layers")[1].split("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| `lorarec/")]
    named = [name for row in rows for name in re.findall(r"`lorarec/(\w+)", row.split("|")[1])]
    assert named == layers()


def test_attributes_that_the_page_names_belong_to_their_class() -> None:
    for owner, attribute in re.findall(r"\b([A-Z]\w+)\.([a-z_]+)\b", PAGE):
        module = importlib.import_module(ELSEWHERE.get(owner, "lorarec.contracts"))
        assert hasattr(getattr(module, owner), attribute), f"{owner}.{attribute}"


def test_each_topic_of_the_page_has_four_files_that_exist() -> None:
    rows = [row.split("|") for row in PAGE.split("| to understand |")[1].split("\n\n")[0].splitlines()[2:]]
    assert rows
    for _, what, files, _ in rows:
        named = re.findall(r"`([\w/.]+)`", files)
        assert len(named) == 4 and all((ROOT / name).is_file() for name in named), what


def test_the_page_can_be_read_in_ten_minutes() -> None:
    """At two hundred words a minute."""
    assert len(PAGE.split()) < 2000
