"""Fixtures for the tests of packaging: pyproject.toml, the archives, built without a network, and an environment in
which only they are installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(file.parent for file in ROOT.glob("plugins/lorarec-*/pyproject.toml"))
"""The distributions other than the main one."""


def build(source: Path, target: str, folder: Path) -> Path:
    """Build an archive with hatchling, as `python -m build --no-isolation` would."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return archive


def entry_points(wheel: Path) -> dict[str, dict[str, str]]:
    """Objects by group and name, as an installer reads them."""
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


@dataclass(frozen=True)
class Installation:
    """A separate environment: Python, the wheels, and their dependencies."""

    folder: Path
    wheels: tuple[Path, ...]

    def run(self, command: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, isolated from the checkout and from the tests' environment."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
        return subprocess.run(
            [self.folder / "bin" / command, *words], cwd=cwd, env=clean, capture_output=True, text=True
        )


def link_dependencies(packages: Path) -> None:
    """Link everything installed for the tests, except the project's distributions and the path files that add the
    checkout."""
    for folder in (Path(entry) for entry in sys.path if Path(entry).name == "site-packages"):
        for path in folder.iterdir():
            own = path.name.lstrip("_").startswith("lorarec") or path.suffix == ".pth"
            if not own and not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)


@pytest.fixture(scope="session")
def installation(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheels of the main distribution and of each one in plugins/, installed by pip into a clean environment."""
    folder = tmp_path_factory.mktemp("installation")
    wheels = (archives.wheel, *(build(source, "wheel", folder / source.name) for source in PLUGINS))
    venv.create(folder / "environment", symlinks=True)
    (packages,) = (folder / "environment").glob("lib/python*/site-packages")
    link_dependencies(packages)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "environment/bin/python")]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", *map(str, wheels)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Installation(folder / "environment", wheels)


@pytest.fixture(scope="session")
def read_entry_points() -> Any:
    """entry_points(wheel), for tests, which cannot import from a conftest."""
    return entry_points
