"""`lorarec recipes` lists, shows and copies recipes."""

import pytest

from lorarec.cli.main import run


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """Two recipes instead of the bundled ones, and an empty working folder."""
    folder, here = tmp_path / "recipes", tmp_path / "here"
    folder.mkdir(), here.mkdir()
    (folder / "shop.yaml").write_text("name: shop\ndescription: a shop\n")
    (folder / "torn.yaml").write_text("name: [\n")
    monkeypatch.setattr("lorarec.config.recipe_file.bundled_folder", lambda: folder)
    monkeypatch.chdir(here)
    return folder


def test_recipes_are_listed_with_their_descriptions_or_errors(capsys):
    assert run(["recipes"]) == 0
    printed = capsys.readouterr().out
    assert ["shop", "a", "shop"] in [line.split() for line in printed.splitlines()]
    assert "torn.yaml:2: this is not valid YAML" in printed


def test_show_prints_the_file(capsys):
    assert run(["recipes", "show", "shop"]) == 0
    assert capsys.readouterr().out == "name: shop\ndescription: a shop\n"


def test_copy_writes_to_the_current_folder_and_never_overwrites(shipped, tmp_path, capsys):
    assert run(["recipes", "copy", "shop"]) == 0
    assert (tmp_path / "here" / "shop.yaml").read_text() == (shipped / "shop.yaml").read_text()
    assert run(["recipes", "copy", "shop"]) == 2
    assert "shop.yaml exists already. Give another destination, or move it away." in capsys.readouterr().err


def test_copy_accepts_a_folder_or_a_file(tmp_path):
    (tmp_path / "mine").mkdir()
    assert run(["recipes", "copy", "shop", str(tmp_path / "mine")]) == 0
    assert run(["recipes", "copy", "shop", str(tmp_path / "mine" / "other.yaml")]) == 0
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == ["other.yaml", "shop.yaml"]


def test_copy_into_a_missing_folder_is_refused(capsys):
    assert run(["recipes", "copy", "shop", "nowhere/shop.yaml"]) == 2
    assert "There is no folder nowhere" in capsys.readouterr().err
