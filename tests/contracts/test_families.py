"""The core calls a head's predictor, and never checks which kind of head or predictor it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lorarec
from lorarec.contracts import TaskHead

CORE = Path(lorarec.__file__).parent
FAMILIES = {"contracts/pair_predictor.py", "contracts/vector_predictor.py"}
DOOR = "contracts/__init__.py"
TASKS = {"contracts/click_task.py", "contracts/rating_task.py"}
"""Tasks of a family, for authors of heads; the rest of the core does not import them."""
NAMES = {"PairPredictor", "VectorPredictor", "PairHead", "VectorHead"}
READS = {*FAMILIES, "contracts/metric.py", "registry/registry.py", "testing/plugin_laws.py", "testing/head_laws.py"}
"""Modules that may use `reads`: the families, a metric, the code that matches it with a head, and the laws of both."""


def faults(source: str, path: str) -> Iterator[str]:
    """Dependencies of a module of the core on families, which it should not have."""
    for node in ast.walk(ast.parse(source)):
        words = {getattr(node, "id", None), getattr(node, "attr", None)}
        if isinstance(node, ast.alias):
            words = {node.name}
        if path not in {*FAMILIES, *TASKS, DOOR} and words & NAMES:
            yield f"{path}: names {words & NAMES}"
        if path not in READS and isinstance(node, ast.Attribute) and node.attr == "reads":
            yield f"{path}:{node.lineno}: uses `reads`"
        if isinstance(node, ast.Attribute) and node.attr == "kind" and "head" in ast.unparse(node.value):
            yield f"{path}:{node.lineno}: checks a head's kind"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("type", "isinstance", "issubclass"):
            arguments = " ".join(ast.unparse(argument) for argument in node.args)
            if "predictor" in arguments:
                yield f"{path}:{node.lineno}: checks a predictor's class"


def test_no_module_of_the_core_depends_on_a_family() -> None:
    modules = {str(path.relative_to(CORE)): path.read_text(encoding="utf-8") for path in CORE.rglob("*.py")}
    assert modules.keys() >= {*READS, DOOR}
    assert [fault for path, source in modules.items() for fault in faults(source, path)] == []
    assert not hasattr(TaskHead, "kind")


@pytest.mark.parametrize(
    "line",
    [
        "if examples.head.kind == 'retrieval': pass",
        "assert isinstance(model.head, VectorHead)",
        "from lorarec.contracts import PairPredictor",
        "if metric.reads == 'lists': pass",
        "if isinstance(run.predictor, Ranking): pass",
        "name = type(self.predictor).__name__",
    ],
)
def test_code_that_depends_on_a_family_is_detected(line: str) -> None:
    assert list(faults(line, "engine/evaluate.py"))
