"""Mutants of recipes and overrides: each is refused by one message, or resolves to exactly what it says."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lorarec.config.recipe_file import load_recipe, recipe_files
from lorarec.config.yaml_text import write_yaml
from lorarec.errors import LorarecError
from lorarec.pipeline import check
from lorarec.registry.discover import KindName
from lorarec.registry.registry import Registry
from lorarec.registry.resolve import SECTIONS, full_recipe, resolve

Refused = Callable[..., str | None]
KeyPath = tuple[str | int, ...]
BUNDLED = [file for file in recipe_files() if file.suffix == ".yaml"]
MARKS = "\0\t\n {}[]\"'&*!|>%@`:-#?,0~\ufeff\u2028\ud7ffé"
SCALARS = [
    *("0", "-1", "1", "7", "1e3", "1.5", "1e400", ".nan", "-.inf", "9" * 30, "9" * 5000, "0x" + "f" * 5000, "1_000"),
    *("true", "null", "yes", "''", "text", "2020-01-01", "12:30", "0o17", "017", "a" * 3000, "é", "💥", "{title}"),
    *('"\\UFFFFFFFF"', '"\\ud800"', '"\\0"', '"\\x1b[31m"', "!!int abc", "!!bool maybe", "!!binary x", "!!float ''"),
    *("!!python/object/apply:os.system [ls]", "!!set {a}", "!unknown x", "*nothing", "&a [*a]", "<<", "=", "?", "- a"),
    *(
        "[]",
        "[1, 2]",
        "[[[]]]",
        "{}",
        "{a: 1}",
        "{1: a}",
        "{a: 1, a: 2}",
        "[" * 300,
        "[" * 90 + "]" * 90,
        "{? [a] : b}",
    ),
    *("/proc/self/environ", "/dev/zero", "..", "~", "/" + "a" * 5000, "a: b: c", "'", '"', "%", "@", "`", "|", ">"),
]


@pytest.fixture(autouse=True)
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The recipes that `check` resolved, with every default. It ends there: data and models are tested elsewhere."""
    recipes: list[dict[str, Any]] = []

    class Report:
        def lines(self) -> list[str]:
            return []

    def only_resolved(recipe: str, overrides: list[str]) -> Report:
        recipes.append(full_recipe(check.open_recipe(recipe, overrides)))
        return Report()

    monkeypatch.setattr(check, "check", only_resolved)
    return recipes


@cache
def recipe_of(file: Path) -> dict[str, Any]:
    """A bundled recipe with every default."""
    return full_recipe(resolve(load_recipe(file), Registry.discover()))


@cache
def recipe_with(kind: KindName, name: str) -> dict[str, Any] | None:
    """A small recipe with a plugin, and every default; None if the plugin has required settings or fits no head."""
    recipe = {
        "name": "small",
        "data": {"source": "synthetic"},
        "backbone": {"name": "sasrec"},
        "adapter": "full",
        "head": "ctr",
    }
    *sections, last = SECTIONS.get(kind, ("callbacks",))
    inside: Any = recipe
    for key in sections:
        inside = inside.setdefault(key, {})
    inside[last] = [name] if kind == "callback" else name
    try:
        return full_recipe(resolve(load_recipe(recipe), Registry.discover()))
    except LorarecError:
        return None


@cache
def recipes() -> list[dict[str, Any]]:
    """Every bundled recipe, and one for each plugin."""
    offers = [offer for offer in Registry.discover().offers() if offer.kind in (*SECTIONS, "callback")]
    small = [recipe_with(offer.kind, offer.plugin.name) for offer in offers]
    return [*map(recipe_of, BUNDLED), *(recipe for recipe in small if recipe)]


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every value inside `value`."""
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def at(value: Any, path: KeyPath) -> Any:
    """The value at `path`."""
    for key in path:
        value = value[key]
    return value


def with_characters_changed(draw: Random) -> list[str]:
    """A bundled recipe with a few characters replaced."""
    text = list(draw.choice(BUNDLED).read_text(encoding="utf-8"))
    for _ in range(draw.randint(1, 5)):
        text[draw.randrange(len(text))] = draw.choice(MARKS)
    Path("mutant.yaml").write_text("".join(text), encoding="utf-8")
    return ["mutant.yaml"]


def with_lines_changed(draw: Random) -> list[str]:
    """A bundled recipe with lines repeated, removed, moved or indented, in one of several encodings."""
    lines = draw.choice(BUNDLED).read_text(encoding="utf-8").splitlines()
    for _ in range(draw.randint(1, 4)):
        index, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        lines[index] = draw.choice(
            ["", lines[other], f"  {lines[index]}", f"\t{lines[index]}", "---", lines[index].strip()]
        )
    encoding = draw.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-le", "cp037"])
    Path("mutant.yaml").write_text("\n".join(lines), encoding=encoding)
    return ["mutant.yaml"]


def with_a_value_changed(draw: Random) -> list[str]:
    """A recipe with every default, one value of which is replaced, removed or repeated."""
    recipe = deepcopy(draw.choice(recipes()))
    path = draw.choice(list(paths(recipe)))
    inside, key, way = at(recipe, path[:-1]), path[-1], draw.randrange(10)
    if way == 0:
        del inside[key]
    elif way == 1 and isinstance(inside, dict):
        inside[draw.choice(["", "nmae", key + "s", "x" * 2000])] = inside[key]
    elif way == 2:
        inside[key] = draw.choice(
            [[inside[key]], {"name": inside[key]}, {key: inside[key]}, at(recipe, draw.choice(list(paths(recipe))))]
        )
    else:
        inside[key] = "@VALUE@"
    Path("mutant.yaml").write_text(write_yaml(recipe).replace("'@VALUE@'", draw.choice(SCALARS)), encoding="utf-8")
    return ["mutant.yaml"]


def with_an_override(draw: Random) -> list[str]:
    """Overrides of a setting of a recipe, also of one that does not exist, with any value."""
    recipe = draw.choice(recipes())
    Path("mutant.yaml").write_text(write_yaml(recipe), encoding="utf-8")
    overrides = []
    for _ in range(draw.randint(1, 3)):
        path = ".".join(map(str, draw.choice(list(paths(recipe)))))
        path = draw.choice(
            [path] * 6 + [path + ".x", path[: len(path) // 2], "", ".".join("a" * draw.randint(1, 3000)), path[::-1]]
        )
        text = (
            draw.choice(SCALARS)
            if draw.random() < 0.8
            else "".join(draw.choices(string.printable, k=draw.randint(0, 9)))
        )
        overrides.append(draw.choice([f"{path}={text}"] * 8 + [path, f"={text}", f"{path}=\udcff"]))
    return ["mutant.yaml", *overrides]


def that_extends_something(draw: Random) -> list[str]:
    """A recipe whose `extends` names another file, or what is no recipe."""
    os.mkfifo("pipe.yaml")
    Path("folder.yaml").mkdir()
    Path("circle.yaml").symlink_to("circle.yaml")
    Path("empty.yaml").touch()
    Path("other.yaml").write_text("extends: mutant.yaml\n")
    with Path("sparse.yaml").open("w") as file:
        file.truncate(10**12)
    Path("bytes.yaml").write_bytes(draw.randbytes(draw.randint(1, 2000)))
    own = [
        "pipe.yaml",
        "folder.yaml",
        "circle.yaml",
        "empty.yaml",
        "other.yaml",
        "sparse.yaml",
        "bytes.yaml",
        "mutant.yaml",
    ]
    system = [
        "/proc/self/environ",
        "/proc/kmsg",
        "/proc/self/mem",
        "/dev/zero",
        "/dev/stdin",
        "/dev/null",
        "/",
        "~",
        "..",
    ]
    text = draw.choice([*own, *system, *SCALARS, "quickstart", "quikstart", "a" * 300 + ".yaml", "a/" * 3000])
    Path("mutant.yaml").write_text(f"extends: {text}\nseed: {draw.choice(SCALARS)}\n", encoding="utf-8")
    return [draw.choice(["mutant.yaml"] * 4 + [text])]


def with_another_number(draw: Random) -> tuple[list[str], dict[str, Any]]:
    """A recipe with every default, one number or boolean of which is another one: by the file or by an override."""
    recipe = draw.choice(recipes())
    keys = [
        path for path in paths(recipe) if type(at(recipe, path)) in (bool, int, float) and isinstance(path[-1], str)
    ]
    path = draw.choice(keys)
    old, changed = at(recipe, path), deepcopy(recipe)
    new = not old if isinstance(old, bool) else old + draw.choice([1, 2]) if isinstance(old, int) else old * 0.75
    at(changed, path[:-1])[path[-1]] = new
    by_file = draw.random() < 0.5 or any(isinstance(key, int) for key in path)
    Path("mutant.yaml").write_text(write_yaml(changed if by_file else recipe), encoding="utf-8")
    written = str(new).lower() if isinstance(new, bool) else repr(new)
    return ["mutant.yaml", *([] if by_file else [f"{'.'.join(map(str, path))}={written}"])], changed


MUTANTS = [with_characters_changed, with_lines_changed, with_a_value_changed, with_an_override, that_extends_something]


def test_a_mutant_is_refused_by_one_message_or_resolves_to_what_resolves_to_itself(
    seed: int, draw: Random, refused: Refused, resolved: list[dict[str, Any]]
) -> None:
    argv = draw.choice(MUTANTS)(draw)
    if refused("check", *argv) is None:
        Path("again.yaml").write_text(write_yaml(resolved[0]), encoding="utf-8")
        assert refused("check", "again.yaml") is None
        assert resolved[1] == resolved[0]


def test_another_number_is_resolved_as_written_and_nothing_else_changes(
    refused: Refused, resolved: list[dict[str, Any]]
) -> None:
    accepted = 0
    for number in range(30):
        resolved.clear()
        argv, expected = with_another_number(Random(number))
        if refused("check", *argv) is None:
            assert resolved == [expected], argv
            accepted += 1
    assert accepted, "every number was refused"


def test_a_mutant_is_refused_by_a_process_of_its_own(
    process_seed: int, draw: Random, refused_by_process: Refused
) -> None:
    argv = draw.choice(MUTANTS)(draw)
    refused_by_process("check", *argv, "train.processes=7")  # no data is read for those that resolve
