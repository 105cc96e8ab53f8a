"""The commands in the documents exist and work as described."""

import re
import shlex
from importlib import metadata
from pathlib import Path

import pytest

from lorarec.cli import main
from lorarec.pipeline.assemble import open_recipe
from lorarec.pipeline.train_seeds import seeds_of

ROOT = Path(__file__).parents[2]
CHEAP = [
    "--help",
    "recipes",
    "recipes show quickstart",
    "plugins",
    "plugins show lora",
    "schema",
    "train --help",
]
STATUS = {"0": main.DONE, "1": main.FAILED, "2": main.USER_MISTAKE, "130": main.INTERRUPTED}


def parsed(line, commands):
    """(command, its parameters) of a line that calls lorarec; raises the errors of the command line."""
    words = shlex.split(line)
    start = next(index for index, word in enumerate(words) if re.search(r"(^|/)lorarec$", word))
    words = words[start + 1 :]
    name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
    context = commands[name].make_context(name, words[len(name.split()) :])
    return name, context.params


@pytest.fixture
def written(readme, tmp_path, monkeypatch):
    """The working folder has the files whose content is in the README."""
    for name, text in readme.files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_line_is_valid(document, commands, written):
    for line in document.command_lines():
        name, given = parsed(line, commands)
        recipe, overrides = given.get("recipe"), given.get("overrides") or []
        if name not in ("train", "check"):
            continue
        described = {"ia3": " ".join(overrides), "process": recipe}
        if any(
            name in text and not metadata.entry_points(group="lorarec", name=name) for name, text in described.items()
        ):
            continue  # of another package, which is not installed here
        assert open_recipe(recipe, seeds_of(overrides)[1]).recipe.name, line


def test_the_readme_has_command_lines(readme):
    assert len(readme.command_lines()) >= 15


@pytest.mark.parametrize("words", CHEAP)
def test_a_newcomers_first_commands_work(words, capsys):
    assert main.run(words.split()) == 0
    assert capsys.readouterr().out


def test_the_reference_lists_exactly_the_existing_commands_with_their_options(readme, commands):
    rows = re.findall(r"^\| `lorarec ([^`]+)` \|", readme.text, re.MULTILINE)
    listed = {}
    for row in rows:
        words = " ".join(row.split()[:2])
        name = words if words in commands else row.split()[0]
        listed[name] = set(re.findall(r"(?<!\w)--?[a-z]+(?:-[a-z]+)*", row))
    existing = {
        name: {option for each in command.params for option in each.opts if option.startswith("-")}
        for name, command in commands.items()
    }
    assert listed == existing


def test_the_exit_statuses_are_those_of_the_command_line(readme):
    table = readme.text.split("| exit status | means |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| (\d+) \|", table, re.MULTILINE)) == sorted(STATUS)
    assert all(str(value) == name for name, value in STATUS.items())


def test_the_recipe_shown_is_the_bundled_one(readme):
    (shown,) = [block for block in readme.blocks("yaml") if block.startswith("name: quickstart")]
    bundled = (ROOT / "recipes" / "quickstart.yaml").read_text(encoding="utf-8")
    kept = [line for line in bundled.splitlines() if not line.startswith("description:")]
    assert [line.split("  #")[0].rstrip() for line in shown.splitlines()] == kept


def test_the_recipe_for_the_users_own_data_reads_the_files_next_to_it(written):
    resolved = open_recipe("my_recipe.yaml")
    tables = resolved.source.load()
    assert tables.interactions.num_rows == 4
    assert set(resolved.recipe.data.columns.values()) <= set(tables.interactions.column_names)
    assert tables.items is not None
    assert {"movie_id", "title", "genres"} == set(tables.items.column_names)
