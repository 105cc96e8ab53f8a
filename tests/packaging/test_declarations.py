"""pyproject.toml says what is so: plugins, dependencies, pinned versions."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from lorarec.contracts import peft_internals
from lorarec_backbones import transformers_internals

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "lorarec", *sorted((ROOT / "plugins").glob("lorarec_*"))]
IA3 = ROOT / "plugins" / "lorarec-ia3"
BENCHMARKS = ROOT / "tests" / "benchmarks"
"""Run by hand, with an extra of their own."""


def normal(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: Iterable[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", text, maxsplit=1)[0]) for text in requirements}


def imported(folders: Iterable[Path], without: Path | None = None) -> set[str]:
    """Distributions of all top-level names imported anywhere in these folders, but Python's own and the folders'."""
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
    found = set()
    for file in package.glob("*.py"):
        marks = [
            mark
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
            for mark in node.decorator_list
        ]
        if any(isinstance(mark, ast.Name) and mark.id == "hookimpl" for mark in marks):
            found.add(f"{package.name}.{file.stem}".removesuffix(".__init__"))
    return found


def test_every_module_with_a_hook_has_an_entry_point_and_no_other_has(project):
    on_disk = {module for package in PACKAGES[1:] for module in hook_modules(package)}
    assert set(project["project"]["entry-points"]["lorarec"].values()) == on_disk
    ia3 = tomllib.loads((IA3 / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(ia3["project"]["entry-points"]["lorarec"].values()) == hook_modules(IA3 / "lorarec_ia3")


def test_what_is_imported_is_declared_and_what_is_declared_is_imported(project):
    extras = project["project"]["optional-dependencies"]
    optional = declared([*extras["offline"], *extras["tracking"], *extras["index"]])
    assert imported(PACKAGES) - optional == declared(project["project"]["dependencies"])


def test_the_same_holds_of_the_separate_plugin():
    ia3 = tomllib.loads((IA3 / "pyproject.toml").read_text(encoding="utf-8"))
    assert imported([IA3 / "lorarec_ia3"]) == declared(ia3["project"]["dependencies"])


def test_what_the_tests_import_comes_with_the_extra_for_tests(project):
    extra = project["project"]["optional-dependencies"]["test"]
    folders = {package.name for package in PACKAGES} | {"lorarec_ia3"}
    there = declared([*project["project"]["dependencies"], *extra])
    test_files = [ROOT / "tests", IA3 / "tests"]
    own = {path.stem for folder in test_files for path in folder.rglob("*.py")}
    needed = imported(test_files, without=BENCHMARKS) - {normal(name) for name in folders | own}
    assert needed <= there, f"not in the extra 'test': {sorted(needed - there)}"


def test_what_the_benchmarks_import_comes_with_their_extra(project):
    described = project["project"]
    extras = described["optional-dependencies"]
    optional = [*extras["benchmarks"], *extras["index"], *extras["offline"]]
    there = declared([*described["dependencies"], *optional])
    own = {normal(path.stem) for path in (*BENCHMARKS.rglob("*"), *PACKAGES)}
    needed = imported([BENCHMARKS, ROOT / "lorarec"]) - own
    assert needed <= there, f"not in the extra 'benchmarks': {sorted(needed - there)}"


def test_every_declared_package_is_pinned_to_one_version_without_a_local_label(project):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines)
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in pins.values())
    assert pins["torch"] == "2.13.0"
    extras = [text for texts in project["project"]["optional-dependencies"].values() for text in texts]
    wanted = declared([*project["project"]["dependencies"], *extras]) - {"lorarec"}
    missing = wanted - {normal(name) for name in pins}
    assert not missing, f"not in constraints.txt: {sorted(missing)}"


@pytest.mark.parametrize("internals", [peft_internals, transformers_internals], ids=["peft", "transformers"])
def test_what_builds_on_a_library_s_inside_was_tested_with_the_version_installed(project, internals):
    """If this fails, run all tests with the new version, then raise TESTED, the upper bound and constraints.txt."""
    name = internals.__name__.rpartition(".")[2].removesuffix("_internals")
    assert version(name).startswith(f"{internals.TESTED}."), f"{name} {version(name)} is not {internals.TESTED}"
    major, minor = internals.TESTED.split(".")
    (bound,) = (text for text in project["project"]["dependencies"] if re.match(rf"{name}\W", text))
    assert bound.endswith(f",<{major}.{int(minor) + 1}")


def test_what_is_private_to_peft_and_transformers_is_touched_in_one_file_each():
    own = {"peft_internals.py", "transformers_internals.py"}
    plain = {"_replace", "_asdict"}  # a NamedTuple's
    files = [path for folder in [*PACKAGES, IA3] for path in folder.rglob("*.py") if path.name not in own]
    touched = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in files
        if re.search(r"^\s*(from|import) (peft|transformers)\b", text := path.read_text(encoding="utf-8"), re.MULTILINE)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr) and node.attr not in plain
        if ast.unparse(node.value) not in ("self", "cls", "super()")
    ]
    assert touched == []


@pytest.mark.parametrize("folder", [ROOT, IA3])
def test_both_distributions_name_the_same_pythons_and_licence(folder):
    described = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert described["requires-python"] == ">=3.11,<3.14"
    assert described["license"] == "Apache-2.0"


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
