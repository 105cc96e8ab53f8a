"""Commands on finished runs pass their arguments to the pipeline and print its results."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from lorarec.cli.main import run


@pytest.fixture
def pipeline(monkeypatch):
    """pipeline(load=function) replaces a function of the pipeline."""

    def replaced(**steps):
        for name, do in steps.items():
            module = ModuleType(f"lorarec.pipeline.{name}")
            setattr(module, name, do)
            monkeypatch.setitem(sys.modules, module.__name__, module)

    return replaced


def test_check_prints_the_reports_lines(pipeline, capsys):
    pipeline(check=lambda recipe, overrides: SimpleNamespace(lines=lambda: [recipe, *overrides]))
    assert run(["check", "quickstart", "adapter=full"]) == 0
    assert capsys.readouterr().out == "quickstart\nadapter=full\n"


def test_evaluate_prints_a_table(pipeline, capsys):
    pipeline(evaluate=lambda folder: {"validation": {"rmse": 1.0}, "test": {"rmse": 1.25}})
    assert run(["evaluate", "run"]) == 0
    assert "1.2500" in capsys.readouterr().out


def test_predict_and_recommend_print_notices(pipeline, monkeypatch, capsys):
    calls = []
    answers = ModuleType("lorarec.inference.answer_files")
    vars(answers).update(
        predict_file=lambda *given: calls.append(given) or ["item i7 is unknown"],
        recommend_file=lambda *given: calls.append(given) or [],
    )
    monkeypatch.setitem(sys.modules, answers.__name__, answers)
    pipeline(load=lambda folder: f"loaded {folder}")
    assert run(["predict", "run", "--input", "a.csv", "--output", "b.csv"]) == 0
    assert capsys.readouterr().err == "item i7 is unknown\n"
    assert run(["recommend", "run", "--histories", "h.jsonl", "-k", "3", "--output", "r.csv"]) == 0
    assert calls == [
        ("loaded run", Path("a.csv"), Path("b.csv"), False),
        ("loaded run", Path("h.jsonl"), Path("r.csv"), 3, False, 0.0, None, False),
    ]


def test_merge_prints_the_folder(pipeline, capsys):
    pipeline(merge=lambda folder, output: output)
    assert run(["merge", "run", "--output", "plain"]) == 0
    assert capsys.readouterr().out == "The merged backbone is in plain.\n"
