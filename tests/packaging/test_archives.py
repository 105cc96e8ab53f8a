"""Contents of the wheel and the source archive."""

import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_lists_every_entry_point_of_the_project(archives, project, read_entry_points):
    listed = read_entry_points(archives.wheel)
    assert listed["lorarec"] == project["project"]["entry-points"]["lorarec"]
    assert listed["console_scripts"] == project["project"]["scripts"]
    assert len(listed["lorarec"]) >= 20


def test_the_source_archive_gives_the_same_wheel(archives, read_entry_points):
    assert names(archives.wheel_of_sdist) == names(archives.wheel)
    assert read_entry_points(archives.wheel_of_sdist) == read_entry_points(archives.wheel)


def test_the_wheel_holds_every_module_the_recipes_the_license_and_py_typed(archives):
    inside = names(archives.wheel)
    packages = ["lorarec", *sorted(p.parent.name for p in (ROOT / "plugins").glob("lorarec_*/__init__.py"))]
    assert len(packages) == 8
    for package in packages:
        folder = ROOT / (package if package == "lorarec" else f"plugins/{package}")
        modules = {f"{package}/{file.relative_to(folder)}" for file in folder.rglob("*.py")}
        assert modules <= inside
        assert f"{package}/py.typed" in inside
    recipes = {f"lorarec/bundled_recipes/{file.name}" for file in (ROOT / "recipes").glob("*.yaml")}
    assert recipes
    assert recipes <= inside
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)
    assert not [name for name in inside if name.startswith(("tests/", "lorarec_ia3", "lorarec_process", "plugins/"))]


def test_the_source_archive_holds_the_files_for_its_tests_and_no_build_products(archives):
    with tarfile.open(archives.sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"README.md", "LICENSE", "constraints.txt", ".ci/run", "tests/conftest.py"} <= inside
    assert {f"plugins/lorarec-{name}/pyproject.toml" for name in ("ia3", "process")} <= inside
    assert not [name for name in inside if "__pycache__" in name or name.startswith((".venv", "runs/"))]
