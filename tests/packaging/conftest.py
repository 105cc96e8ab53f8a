"""What the tests of packaging share: the project's description, and its archives, built without a network."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def build(source: Path, target: str, folder: Path) -> Path:
    """Build an archive with hatchling, as `python -m build --no-isolation` would."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return archive


def entry_points(wheel: Path) -> dict[str, dict[str, str]]:
    """Group -> name -> object, as an installer reads them."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        text = archive.read(name).decode()
    parser = ConfigParser(delimiters="=")
    parser.read_string(text)
    return {group: dict(parser[group]) for group in parser.sections()}


@dataclass(frozen=True)
class Archives:
    """The project as it would be published."""

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="session")
def project() -> Mapping[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Wheel and source archive of the checkout, and the wheel that the source archive gives."""
    folder = tmp_path_factory.mktemp("archives")
    sdist = build(ROOT, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    return Archives(build(ROOT, "wheel", folder / "wheel"), sdist, build(source, "wheel", folder / "from_sdist"))


@pytest.fixture(scope="session")
def ia3_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the separate distribution lorarec-ia3."""
    return build(ROOT / "plugins" / "lorarec-ia3", "wheel", tmp_path_factory.mktemp("ia3"))


@pytest.fixture(scope="session")
def read_entry_points() -> Any:
    """entry_points(wheel), for tests, which cannot import from a conftest."""
    return entry_points
