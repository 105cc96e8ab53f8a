"""No code that comes with data, weights or a run is run: in the source, and in a folder that asks for it."""

from __future__ import annotations

import ast
import builtins
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lorarec.contracts import LorarecError
from lorarec_backbones.text import TextBackbone

ROOT = Path(__file__).parents[2]
SOURCES = sorted(file for folder in ("lorarec", "plugins") for file in (ROOT / folder).rglob("*.py"))
RUNS_CODE = {"eval", "exec", "compile", "apply_chat_template"}
PICKLES = {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
WITH = {
    "from_pretrained": ("trust_remote_code", False),
    "from_config": ("trust_remote_code", False),
    "load": ("weights_only", True),
}
"""Calls that would run or ask for code, unless they have this keyword with this value. `load` is that of torch."""


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls in a file, with the last parts of the called name: "torch.load", "len"."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            yield ".".join(ast.unparse(node.func).split(".")[-2:]), node


def keyword(call: ast.Call, name: str) -> object:
    """The constant that a call gives for a keyword."""
    values = [entry.value for entry in call.keywords if entry.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def test_every_call_that_could_run_code_of_a_folder_forbids_it() -> None:
    seen = set()
    for file in SOURCES:
        for called, call in calls(file):
            owner, _, name = called.rpartition(".")
            if name in WITH and owner != "PeftModel" and (name != "load" or owner == "torch"):
                seen.add(name)
                setting, value = WITH[name]
                assert keyword(call, setting) is value, f"{file}:{call.lineno} needs {setting}={value}"
            if name == "from_pretrained" and "AutoModel" in owner:
                assert keyword(call, "use_safetensors") is True, f"{file}:{call.lineno} may read pickles"
            assert called not in RUNS_CODE and name != "apply_chat_template", f"{file}:{call.lineno}"
            assert called not in ("evaluate.load", "hub.load"), f"{file}:{call.lineno} fetches code"
            assert keyword(call, "allow_pickle") in (None, False), f"{file}:{call.lineno}"
    assert seen >= {"from_pretrained", "from_config"}


def test_no_module_that_reads_pickles_is_imported() -> None:
    exceptions = [
        ROOT / "lorarec" / "testing",  # its laws pickle a featurizer of the plugin under test
        ROOT / "lorarec" / "engine" / "shared_arrays.py",  # objects go from process to process, as torch sends them
    ]
    for file in SOURCES:
        if any(file.is_relative_to(path) for path in exceptions):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not PICKLES & {name.split(".")[0] for name in names}, f"{file}:{node.lineno}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that were put to the person at the keyboard, who says yes."""
    questions: list[str] = []

    def answer(question: str = "") -> str:
        questions.append(question)
        return "y"

    monkeypatch.setattr(builtins, "input", answer)
    return questions


@pytest.fixture
def folder_with_code(
    tiny_checkpoint: Callable[[str], Path], tmp_path: Path, asked: list[str]
) -> Iterator[Callable[..., Path]]:
    """folder_with_code(model_type="x"): an encoder whose every part names code that leaves a file "ran" behind."""
    marker = tmp_path / "ran"

    def build(**config: Any) -> Path:
        folder = Path(shutil.copytree(tiny_checkpoint("bert"), tmp_path / "own-code"))
        (folder / "theirs.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Theirs: pass\n")
        parts = ("AutoConfig", "AutoModel", "AutoModelForCausalLM")
        for name, change in (
            ("config.json", {**config, "auto_map": dict.fromkeys(parts, "theirs.Theirs")}),
            ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["theirs.Theirs", "theirs.Theirs"]}}),
        ):
            file = folder / name
            file.write_text(json.dumps(json.loads(file.read_text()) | change))
        return folder

    yield build
    assert not marker.exists() and asked == []


def test_a_folder_of_a_known_architecture_is_read_without_its_code_and_says_so(
    folder_with_code: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    backbone = TextBackbone(TextBackbone.Config(checkpoint=str(folder_with_code())))
    backbone.load(None, 0)  # type: ignore[arg-type]  # a text backbone reads no catalog to load
    assert type(backbone.module).__name__ == "BertModel" and backbone._tokenizer("a") is not None
    assert "comes with its own code (auto_map), which is not run" in caplog.text


@pytest.mark.parametrize("config", [{"model_type": "theirs"}, {"model_type": ["bert"]}, {"model_type": None}])
def test_a_folder_that_needs_its_code_is_refused_without_a_question(
    folder_with_code: Callable[..., Path], config: dict[str, Any]
) -> None:
    with pytest.raises(LorarecError, match=r"own-code") as refusal:
        TextBackbone(TextBackbone.Config(checkpoint=str(folder_with_code(**config)))).architecture()
    assert "\n" not in str(refusal.value)
