"""Documents name files that exist, contain code that compiles, and have complete tables."""

import ast
import re
from pathlib import Path

import pytest

from lorarec.artifact import layout
from lorarec.config.yaml_text import read_yaml

ROOT = Path(__file__).parents[2]
IN_PROJECT = re.compile(r"(?<![\w./-])((?:recipes|plugins|tests|lorarec|\.ci|\.github)/[\w./-]*[\w/])")


def test_python_blocks_compile(document):
    for block in document.blocks("python"):
        ast.parse(block)


def test_links_lead_to_files_of_the_project(document):
    folder = (ROOT / document.path).parent
    links = re.findall(r"\]\(([^)#\s]+)\)", document.text)
    dead = [link for link in links if "://" not in link and not (folder / link).exists()]
    assert not dead


def test_paths_in_the_text_exist(document):
    prose = re.sub(r"```toml.*?```", "", document.text, flags=re.DOTALL)
    named = {path for path in IN_PROJECT.findall(prose) if "NAME" not in path}
    assert not [path for path in named if not (ROOT / path).exists()]


def test_the_table_of_the_run_folder_names_every_possible_file(readme):
    table = readme.text.split("## The run folder")[1].split("\n## ")[0]
    names = {
        value
        for key, value in vars(layout).items()
        if key.isupper() and isinstance(value, str) and key not in ("CHECKPOINTS", "FEATURES", "USER")
    }
    listed = {name.rstrip("/").removesuffix("-CHECKSUM.json")
              for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
              for name in re.findall(r"`([^`]+)`", row)}  # fmt: skip
    assert listed == names


def test_every_accelerate_profile_is_in_the_page_on_several_devices():
    page = (ROOT / "docs" / "several-devices.md").read_text(encoding="utf-8")
    for profile in (ROOT / "recipes" / "accelerate").glob("*.yaml"):
        assert f"--config_file recipes/accelerate/{profile.name} " in page


def test_the_table_of_recipes_has_one_row_per_recipe():
    files = {file.stem for file in (ROOT / "recipes").glob("*.yaml")}
    for document in ("README.md", "recipes/README.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        table = text.split("\n| recipe |")[1].split("\n\n")[0]
        rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        assert len(rows) == len(set(rows))
        assert set(rows) == files, document


@pytest.mark.parametrize("mark", ["quickstart", "tests"])
def test_each_set_up_is_one_line(readme, mark):
    (block,) = re.findall(rf"^<!-- {mark} -->\n```bash\n(.*?)^```$", readme.text, re.MULTILINE | re.DOTALL)
    (line,) = block.splitlines()
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
    assert "-c constraints.txt" in line


def test_no_document_names_a_path_of_a_particular_machine(document):
    assert not re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users|opt)/", document.text)


def test_a_recipe_of_each_task_has_a_table_with_a_row_for_each_adapter():
    text = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    recipes = {file.stem for file in (ROOT / "recipes").glob("*.yaml")}
    heads = {
        read_yaml((ROOT / "recipes" / f"{name}.yaml").read_text(), name)[0]["head"]["name"] for name in shown & recipes
    }
    assert shown <= recipes and heads == {"rating", "ctr", "next_item"}
    for name in shown:
        section = text.split(f"### {name}\n")[1].split("\n#")[0]
        rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert rows == ["lora", "adalora", "prefix", "full", "frozen", "ia3"]
