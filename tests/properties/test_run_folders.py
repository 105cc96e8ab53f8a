"""Mutants of run folders, most with checksums that fit: each is refused by one message, or answers as a run does."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from lorarec.artifact.layout import write_checksums
from lorarec.cli.main import run as lorarec
from lorarec.config.yaml_text import read_yaml, write_yaml
from lorarec.errors import ArtifactError

Refused = Callable[..., str | None]
SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "data": {"source": {"name": "synthetic", "users": 30, "items": 30, "events": 300}},
    "train": {"batch_size": 16, "max_steps": 2},
    "evaluate": {"batch_size": 64},
}
TEXT: dict[str, Any] = {"adapter": {"name": "lora", "r": 2}, "head": "ctr"}
IDS: dict[str, Any] = {
    "backbone": {"name": "sasrec", "hidden_size": 8, "layers": 1, "heads": 1, "max_length": 50},
    "adapter": "full",
    "head": {"name": "next_item", "width": 8, "encoder": "backbone_steps", "ids": False},
}
HOSTILE: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 10**9, 10**15, 10**400, 0.5, -0.0, 1e308, math.nan, math.inf),
    *("", "x", "../x", "/etc/passwd", "(a+)+$", "a\0b", "\ud800", "x" * 5_000, "\x1b[31m", "none/such"),
    *([], {}, [[]], {"": {}}, [0] * 500, ["(a+)+$"], [10**9], {"name": "x"}, {"a": math.nan}),
]


class Runs(NamedTuple):
    """Finished runs, which are not changed, and the answers of each."""

    folders: dict[str, Path]
    answers: dict[str, str]
    requests: Path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Callable[[str], Path]) -> Runs:
    """A run that reads texts and predicts clicks, and one that reads ids and recommends."""
    parent = tmp_path_factory.mktemp("runs")
    text = {**TEXT, "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 16}}
    folders, answers, requests = {}, {}, parent / "requests.csv"
    requests.write_text("item,history\ni1,i2|i3\ni4,\ni5,i6\n")
    for name, parts in {"ids": IDS, "text": text}.items():
        (parent / f"{name}.yaml").write_text(write_yaml(SETTINGS | parts))
        folders[name] = parent / name
        assert lorarec(["train", str(parent / f"{name}.yaml"), "--output", str(folders[name])]) == 0
        out = parent / f"{name}.csv"
        assert lorarec(asked(folders[name], requests, out)) == 0
        answers[name] = out.read_text()
    return Runs(folders, answers, requests)


def asked(run: Path, requests: Path, out: Path) -> list[str]:
    """The command that asks a run of this kind."""
    if (run / "item_vectors.safetensors").exists() or run.name.startswith("ids"):
        return ["recommend", str(run), "--histories", str(requests), "--output", str(out), "-k", "3"]
    return ["predict", str(run), "--input", str(requests), "--output", str(out)]


def files_of(run: Path) -> list[Path]:
    """All its files."""
    return sorted(path for path in run.rglob("*") if path.is_file() and path.name != "README.md")


def some(draw: Random, run: Path, *suffixes: str) -> Path:
    """One of its files with one of these endings."""
    return draw.choice([path for path in files_of(run) if not suffixes or path.suffix in suffixes])


def flipped(draw: Random, run: Path, _: Runs) -> None:
    file = some(draw, run)
    content = bytearray(file.read_bytes())
    for _number in range(draw.choice([1, 1, 5, 100])):
        place = draw.randrange(draw.choice([len(content), min(200, len(content))]))
        content[place] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def cut(draw: Random, run: Path, _: Runs) -> None:
    file = some(draw, run)
    os.truncate(file, draw.randrange(file.stat().st_size))


def removed(draw: Random, run: Path, _: Runs) -> None:
    path = draw.choice(sorted(run.rglob("*")))
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def swapped(draw: Random, run: Path, runs: Runs) -> None:
    """A file or folder of the other run in its place, or another file of its own."""
    other = runs.folders[draw.choice(["ids", "text"])]
    source, target = draw.choice(sorted(other.iterdir())), draw.choice(sorted(run.iterdir()))
    if source.is_file() and target.is_file():
        shutil.copyfile(source, target)
    else:
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)


def replaced(draw: Random, value: Any) -> Any:
    """The value with one part of it replaced, removed or added."""
    if isinstance(value, dict | list) and value and draw.random() < 0.85:
        copy: Any = dict(value) if isinstance(value, dict) else list(value)
        key = draw.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        change = draw.random()
        if change < 0.1:
            del copy[key]
        elif change < 0.2 and isinstance(copy, dict):
            copy[draw.choice([*WORDS, "x"])] = draw.choice(HOSTILE)
        else:
            copy[key] = replaced(draw, copy[key])
        return copy
    return draw.choice(HOSTILE)


WORDS = [
    "extends",
    "auto_map",
    "transformers_weights",
    "quantization_config",
    "vocab_file",
    "layer_types",
    "num_labels",
]


def json_changed(draw: Random, run: Path, _: Runs) -> None:
    file = some(draw, run, ".json")
    file.write_text(json.dumps(replaced(draw, json.loads(file.read_text()))))


def recipe_changed(draw: Random, run: Path, _: Runs) -> None:
    file = run / "recipe.yaml"
    value = replaced(draw, read_yaml(file.read_text(), "recipe.yaml")[0])
    file.write_text(json.dumps(value) if draw.random() < 0.7 else str(value), errors="replace")


def weights_changed(draw: Random, run: Path, _: Runs) -> None:
    file = some(draw, run, ".safetensors")
    weights = load_file(file)
    name = draw.choice(sorted(weights))
    tensor = weights.pop(name).clone()
    changes: list[Callable[[], torch.Tensor]] = [
        lambda: tensor.fill_(math.nan) if tensor.is_floating_point() else tensor * 0 - 1,
        lambda: tensor.fill_(-math.inf) if tensor.is_floating_point() else tensor + 10**6,
        lambda: tensor[None],
        lambda: torch.cat([tensor.reshape(-1), tensor.reshape(-1)]),
        lambda: tensor.reshape(-1)[:0],
        lambda: tensor.to(draw.choice([torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.float8_e4m3fn])),
        lambda: tensor * 1e30 if tensor.is_floating_point() else tensor,
    ]
    changed = draw.choice(changes)().contiguous()
    rename = draw.random()
    if rename > 0.1:
        weights[name if rename > 0.2 else "x" * 300] = changed
    save_file(weights, file, {"format": "pt"})


def table_changed(draw: Random, run: Path, _: Runs) -> None:
    file = some(draw, run, ".parquet")
    table = pq.read_table(file)
    name, n = draw.choice(table.column_names), len(table)
    values: list[Any] = [
        *(pa.array([None] * n), pa.array([draw.choice([-1, 0, 2**40])] * n), pa.array([math.nan] * n)),
        *(pa.array(["x"] * n), pa.array(["\x1b[31m,\n"] * n), pa.array([b"\xff"] * n), pa.array([["x"]] * n)),
        *(pa.array(["x" * 100_000] * n), pa.array([{"a": 1}] * n)),
    ]
    index = table.column_names.index(name)
    change = draw.random()
    if change < 0.1:
        table = table.drop_columns([name])
    elif change < 0.2:
        table = table[: draw.choice([0, 1, n - 1])]
    elif change < 0.3:
        table = table.replace_schema_metadata(
            {"lorarec": json.dumps(draw.choice(HOSTILE)), "pandas": "{", "huggingface": "{"}
        )
    else:
        table = table.set_column(index, name, draw.choice(values))
    pq.write_table(table, file, compression=draw.choice(["snappy", "snappy", "none", "zstd"]))


def linked(draw: Random, run: Path, runs: Runs) -> None:
    path = draw.choice(sorted(run.rglob("*")))
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if draw.random() < 0.3:
        os.mkfifo(path)
    else:
        path.symlink_to(draw.choice([runs.folders["ids"] / path.name, "/etc/passwd", "/dev/zero", "/", path]))


def listed(draw: Random, run: Path, _: Runs) -> None:
    """A name in the manifest."""
    file = run / "manifest.json"
    content = json.loads(file.read_text())
    names = ["../x", "/etc/passwd", "..\\x", "a\0b", "adapter/../../x", "", "x" * 3_000, "notes.txt", "\ud800"]
    content["files"][draw.choice(names)] = draw.choice(["0" * 64, None, 7, ["x"]])
    file.write_text(json.dumps(content))


def added(draw: Random, run: Path, _: Runs) -> None:
    """A file that the run has not had."""
    names = ["calibration.json", "backbone/adapter_config.json", "backbone/model.safetensors.index.json", "notes.txt"]
    names += ["backbone/modules.json", "backbone/config_sentence_transformers.json", "backbone/theirs.py", "adapter/x"]
    file = run / draw.choice(names)
    contents = [
        {"method": "temperature", "temperature": draw.choice([0, 1.5, math.nan, "1"])},
        {"method": "isotonic", "scores": [0.1, 0.5], "probabilities": draw.choice([[0.1, 0.2], [0.9, 0.2]])},
        {"weight_map": {"a": "../../head.safetensors"}},
        [{"idx": 0, "name": "0", "path": "../..", "type": "sentence_transformers.models.Transformer"}],
        draw.choice(HOSTILE),
    ]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(draw.choice(contents)))


FITTING = [flipped, cut, removed, swapped, recipe_changed, json_changed, json_changed, weights_changed, weights_changed]
FITTING += [table_changed, added, json_changed]
OTHERS = [flipped, cut, removed, linked, linked, listed]


def mutant(draw: Random, runs: Runs, here: Path) -> tuple[Path, bool]:
    """A mutant of one of the runs, and whether its checksums were made to fit."""
    name = draw.choice(["ids", "ids", "text"])
    run = Path(shutil.copytree(runs.folders[name], here / name))
    fits = draw.random() < 0.75
    for turn in range(draw.choice([1, 1, 1, 2])):
        with suppress(Exception) if turn else nullcontext():  # it may find a file broken
            draw.choice(FITTING if fits else OTHERS)(draw, run, runs)
    if fits:
        with suppress(ArtifactError):  # where the manifest is a folder now
            write_checksums(run)
    return run, fits


def check(message: str | None, out: Path, before: str, fits: bool) -> None:
    """Refused without an output, or answered in the same form, and as before where the checksums were left alone."""
    if message is not None:
        assert not out.exists()
        return
    answers, former = (list(csv.DictReader(text.splitlines())) for text in (out.read_text(), before))
    if not fits:
        assert answers == former
    assert all(row.keys() == former[0].keys() for row in answers)
    assert all(math.isfinite(float(row["score"])) for row in answers if row["score"])


def test_a_mutant_of_a_run_is_refused_or_answers(
    seed: int, draw: Random, here: Path, runs: Runs, refused: Refused
) -> None:
    run, fits = mutant(draw, runs, here)
    before, out = sorted(here.rglob("*")), here / "answers.csv"
    check(refused(*asked(run, runs.requests, out)), out, runs.answers[run.name], fits)
    assert sorted(set(here.rglob("*")) - {out}) == before


def test_a_mutant_of_a_run_is_refused_or_answers_in_a_process_of_its_own(
    process_seed: int, draw: Random, here: Path, runs: Runs, refused_by_process: Refused
) -> None:
    run, fits = mutant(draw, runs, here)
    out = here / "answers.csv"
    check(refused_by_process(*asked(run, runs.requests, out)), out, runs.answers[run.name], fits)
