"""The declarations in pyproject.toml are correct: plugins, dependencies, pinned versions."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest

from lorarec.contracts import peft_internals
from lorarec_backbones import transformers_internals

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "lorarec", *sorted((ROOT / "plugins").glob("lorarec_*"))]
PLUGINS = sorted(file.parent for file in ROOT.glob("plugins/lorarec-*/pyproject.toml"))
"""The distributions other than the main one, each with one package of the same name."""
BENCHMARKS = ROOT / "tests" / "benchmarks"
"""Run by hand, with a separate extra."""


def normal(name: str) -> str:
    """The normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def described(folder: Path) -> dict[str, Any]:
    """The project table of a distribution's pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def package_of(plugin: Path) -> Path:
    return plugin / plugin.name.replace("-", "_")


def declared(requirements: Iterable[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", text, maxsplit=1)[0]) for text in requirements}


def imported(folders: Iterable[Path], without: Path | None = None) -> set[str]:
    """Distributions of all top-level names imported in these folders, except the standard library and the folders."""
    folders = list(folders)
    names: set[str] = set()
    files = (file for folder in folders for file in folder.rglob("*.py"))
    for file in (file for file in files if without not in file.parents):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    names -= set(sys.stdlib_module_names) | {folder.name for folder in folders}
    providers = packages_distributions()
    return {normal(providers[name][0]) if name in providers else normal(name) for name in names}


def hook_modules(package: Path) -> set[str]:
    """Modules that define a function marked @hookimpl."""
    modules = set()
    for file in package.rglob("*.py"):
        marks = [
            mark
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
            for mark in node.decorator_list
        ]
        if any(isinstance(mark, ast.Name) and mark.id == "hookimpl" for mark in marks):
            modules.add(".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"))
    return modules


def test_every_module_with_a_hook_and_no_other_has_an_entry_point(project):
    on_disk = {module for package in PACKAGES[1:] for module in hook_modules(package)}
    assert set(project["project"]["entry-points"]["lorarec"].values()) == on_disk
    for plugin in PLUGINS:
        assert set(described(plugin)["entry-points"]["lorarec"].values()) == hook_modules(package_of(plugin))


def test_the_declared_dependencies_are_exactly_the_imported_ones(project):
    extras = project["project"]["optional-dependencies"]
    optional = declared([*extras["offline"], *extras["tracking"], *extras["index"]])
    assert imported(PACKAGES) - optional == declared(project["project"]["dependencies"])


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda folder: folder.name)
def test_the_same_holds_of_the_separate_plugins(plugin):
    assert imported([package_of(plugin)]) == declared(described(plugin)["dependencies"])


def test_the_imports_of_the_tests_are_in_the_extra_for_tests(project):
    extra = project["project"]["optional-dependencies"]["test"]
    folders = {folder.name for folder in [*PACKAGES, *map(package_of, PLUGINS)]}
    of_plugins = [text for plugin in PLUGINS for text in described(plugin)["dependencies"]]
    available = declared([*project["project"]["dependencies"], *extra, *of_plugins])
    test_files = [ROOT / "tests", *(plugin / "tests" for plugin in PLUGINS)]
    own = {path.stem for folder in test_files for path in folder.rglob("*.py")}
    needed = imported(test_files, without=BENCHMARKS) - {normal(name) for name in folders | own}
    assert needed <= available, f"not in the extra 'test': {sorted(needed - available)}"


def test_the_imports_of_the_benchmarks_are_in_their_extra(project):
    extras = project["project"]["optional-dependencies"]
    optional = [*extras["benchmarks"], *extras["index"], *extras["offline"]]
    available = declared([*project["project"]["dependencies"], *optional])
    own = {normal(path.stem) for path in (*BENCHMARKS.rglob("*"), *PACKAGES)}
    needed = imported([BENCHMARKS, ROOT / "lorarec"]) - own
    assert needed <= available, f"not in the extra 'benchmarks': {sorted(needed - available)}"


def test_every_declared_package_is_pinned_to_one_version_without_a_local_label(project):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines)
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in pins.values())
    assert pins["torch"] == "2.13.0"
    extras = [text for texts in project["project"]["optional-dependencies"].values() for text in texts]
    expected = declared([*project["project"]["dependencies"], *extras]) - {"lorarec"}
    missing = expected - {normal(name) for name in pins}
    assert not missing, f"not in constraints.txt: {sorted(missing)}"


@pytest.mark.parametrize("internals", [peft_internals, transformers_internals], ids=["peft", "transformers"])
def test_code_that_uses_private_parts_of_a_library_was_tested_with_the_installed_version(project, internals):
    """If this fails, run all tests with the new version, then raise TESTED, the upper bound and constraints.txt."""
    name = internals.__name__.rpartition(".")[2].removesuffix("_internals")
    assert version(name).startswith(f"{internals.TESTED}."), f"{name} {version(name)} is not {internals.TESTED}"
    major, minor = internals.TESTED.split(".")
    (bound,) = (text for text in project["project"]["dependencies"] if re.match(rf"{name}\W", text))
    assert bound.endswith(f",<{major}.{int(minor) + 1}")


def test_private_parts_of_peft_and_transformers_are_used_in_one_file_each():
    own = {"peft_internals.py", "transformers_internals.py"}
    plain = {"_replace", "_asdict"}  # a NamedTuple's
    files = [path for folder in [*PACKAGES, *PLUGINS] for path in folder.rglob("*.py") if path.name not in own]
    touched = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in files
        if re.search(r"^\s*(from|import) (peft|transformers)\b", text := path.read_text(encoding="utf-8"), re.MULTILINE)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr) and node.attr not in plain
        if ast.unparse(node.value) not in ("self", "cls", "super()")
    ]
    assert touched == []


@pytest.mark.parametrize("folder", [ROOT, *PLUGINS], ids=lambda folder: folder.name)
def test_all_distributions_have_the_same_python_and_license(folder):
    assert described(folder)["requires-python"] == ">=3.11"
    assert described(folder)["license"] == "Apache-2.0"


def test_only_the_tested_python_is_declared(project):
    prefix = "Programming Language :: Python :: 3."
    claimed = [text.removeprefix(prefix) for text in project["project"]["classifiers"] if text.startswith(prefix)]
    assert claimed == ["11"]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert 'python-version: "3.11"' in workflow
    assert "Python 3.11" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_command_runs_the_tests_of_every_distribution():
    (command,) = re.findall(r"<!-- tests -->\n```bash\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"))
    for plugin in PLUGINS:
        assert f" ./plugins/{plugin.name} " in command
        assert f" plugins/{plugin.name}/tests " in command


def test_the_changelog_has_sections_for_the_version_and_for_unreleased_changes(project):
    text = (ROOT / "docs/CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[?([^\]\s]+)", text, re.MULTILINE)
    assert sections[0] == "Unreleased"
    version = project["project"]["version"]
    assert version in sections or ".dev" in version, "a development version has its changes under Unreleased"


def test_the_license_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
