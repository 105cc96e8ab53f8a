"""The tools of pre-commit, run as tests: one command shows whether a change is acceptable."""

import subprocess
import sys
from pathlib import Path

import pytest

from lorarec.config.yaml_text import read_yaml

ROOT = Path(__file__).parents[2]
IN_PROCESS = "import sys; from importlinter.cli import lint_imports_command as lint; sys.exit(lint())"
TOOLS = {
    "ruff check": ["-m", "ruff", "check", "--no-cache", "."],
    "ruff format --check": ["-m", "ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["-m", "mypy"],
    "lint-imports": ["-c", IN_PROCESS],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_code_satisfies(tool: str) -> None:
    done = subprocess.run([sys.executable, *TOOLS[tool]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{tool}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def test_pre_commit_runs_the_same_tools() -> None:
    written, _ = read_yaml((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"), "")
    entries = [hook["entry"] for repository in written["repos"] for hook in repository["hooks"]]
    assert entries == list(TOOLS)
