"""The wheels work without the checkout: installed into a clean environment, they run the quickstart there."""

import json
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(file.parent for file in ROOT.glob("plugins/lorarec-*/pyproject.toml"))
RECIPES = sorted([*ROOT.glob("recipes/*.yaml"), *ROOT.glob("plugins/lorarec-*/**/recipes/*.yaml")])
PACKAGES = [
    "lorarec",
    *(file.parent.name for file in ROOT.glob("plugins/lorarec_*/__init__.py")),
    *(folder.name.replace("-", "_") for folder in PLUGINS),
]
SMALL = [
    *("data.source.users=60", "data.source.items=50", "data.source.events=800"),
    *("train.max_steps=2", "train.epochs=1", "train.batch_size=8"),
]
LOOK = """
import contextlib, importlib, io, json, sys

from lorarec.cli.main import run

def printed(*words):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run(list(words)) == 0
    return out.getvalue()

files = [importlib.import_module(name).__file__ for name in sys.argv[1:]]
commands = {words: printed(*words.split()) for words in ("plugins", "recipes", "recipes show quickstart")}
print(json.dumps({"path": sys.path, "files": files, **commands}))
"""


@pytest.fixture(scope="module")
def seen(installation, tmp_path_factory):
    """Values from a process in the environment: its path, the packages' files, and the output of commands."""
    done = installation.run("python", "-P", "-c", LOOK, *PACKAGES, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_each_package_comes_from_its_wheel_and_the_checkout_is_not_on_the_path(seen, installation):
    assert len(seen["files"]) == len(PACKAGES) >= 9
    assert all(Path(file).resolve().is_relative_to(installation.folder) for file in seen["files"])
    assert not [entry for entry in seen["path"] if Path(entry).resolve().is_relative_to(ROOT)]


def test_every_distribution_is_among_the_providers_of_plugins(seen):
    providers = {tuple(line.split()[-2:]) for line in seen["plugins"].splitlines() if line.strip()}
    for folder in [ROOT, *PLUGINS]:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert (project["name"], project["version"]) in providers


def test_every_recipe_is_bundled_unchanged(seen):
    listed = {line.split()[0] for line in seen["recipes"].splitlines() if line.strip()}
    assert {file.stem for file in RECIPES} <= listed
    assert seen["recipes show quickstart"] == (ROOT / "recipes/quickstart.yaml").read_text(encoding="utf-8")


def test_the_quickstart_trains(installation, tmp_path):
    done = installation.run("lorarec", "train", "quickstart", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, "pytest does not see warnings of other processes"
    assert done.stdout.splitlines()[-1] == "The run is in runs/quickstart."
    assert json.loads((tmp_path / "runs/quickstart/metrics.json").read_text())["steps"] == 2
