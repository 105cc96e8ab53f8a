"""Fixtures for the tests of documents: the documents, their blocks, and the commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from lorarec.cli.main import make_app

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "recipes/README.md",
    "docs/CHANGELOG.md",
    "docs/adapters.md",
    "docs/architecture.md",
    "docs/plugins.md",
    "docs/several-devices.md",
    "plugins/lorarec-process/README.md",
    ".github/CONTRIBUTING.md",
    "tests/benchmarks/README.md",
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Document:
    """A Markdown file of the project."""

    path: str

    @property
    def text(self) -> str:
        return (ROOT / self.path).read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """Contents of the fenced blocks in a language."""
        return [body for kind, body in _BLOCK.findall(self.text) if kind == language]

    def files(self) -> dict[str, str]:
        """Files whose content is in the document: a name in backquotes and a colon, then a block."""
        return dict(_NAMED.findall(self.text))

    def command_lines(self) -> list[str]:
        """Every line of a shell block, and every command in backquotes inside a table, that calls lorarec."""
        lines = [line for block in self.blocks("bash") for line in block.splitlines()]
        cells = re.findall(r"`((?:accelerate launch|ACCELERATE_\w+=\w+ (?:\w+=\w+ )*torchrun) [^`]+)`", self.text)
        parts = [part.strip() for line in [*lines, *cells] for part in re.split(r"&&|\s#\s", line)]
        return [part for part in parts if re.search(r"(^|/|-m )lorarec( |$)", part)]


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> Document:
    return Document(request.param)


@pytest.fixture
def readme() -> Document:
    return Document("README.md")


@pytest.fixture(scope="session")
def commands() -> dict[str, Any]:
    """Every command of typer by the words that call it."""
    group: Any = typer.main.get_command(make_app())
    commands = {}
    for name, command in group.commands.items():
        commands[name] = command
        commands |= {f"{name} {inner}": each for inner, each in getattr(command, "commands", {}).items()}
    return commands
