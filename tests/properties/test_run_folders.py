"""Mutants of run folders, most with checksums that fit: a command refuses each by one message, or reads it as a run.

Each mutant goes through one of the commands that read runs; those of stopped runs through `train --resume`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
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
from lorarec.engine.fit import Fit
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


RECIPES: dict[str, dict[str, Any]] = {"ids": IDS, "text": TEXT, "stopped": IDS}
COMMANDS = {
    "ids": ["recommend", "recommend", "recommend", "evaluate", "compare", "merge", "warm start"],
    "text": ["predict", "predict", "evaluate", "calibrate", "compare", "merge"],
    "stopped": ["resume"],
}
"""By the kind of run, the commands that read one; several times: more often."""


class Runs(NamedTuple):
    """Runs, which are not changed: finished ones with their answers, and a stopped one."""

    folders: dict[str, Path]
    answers: dict[str, str]
    parent: Path
    """Also of their recipes, NAME.yaml, and of the requests."""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Callable[[str], Path]) -> Runs:
    """A run that reads texts and predicts clicks, one that reads ids and recommends, and one that was stopped."""
    parent = tmp_path_factory.mktemp("runs")
    backbone = {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 16}
    (parent / "requests.csv").write_text("item,history\ni1,i2|i3\ni4,\ni5,i6\n")
    folders, answers = {}, {}
    for name, parts in RECIPES.items():
        settings = SETTINGS | parts | ({"backbone": backbone} if name == "text" else {})
        (parent / f"{name}.yaml").write_text(write_yaml(settings))
        folders[name] = parent / (f"{name}.unfinished" if name == "stopped" else name)
        with stopped() if name == "stopped" else nullcontext():
            assert lorarec(["train", str(parent / f"{name}.yaml"), "--output", str(parent / name)]) in (0, 130)
    for name, command in {"ids": "recommend", "text": "predict"}.items():
        out = parent / f"{name}.csv"
        assert lorarec(line(command, folders[name], parent, out)) == 0
        answers[name] = out.read_text()
    return Runs(folders, answers, parent)


@contextmanager
def stopped() -> Iterator[None]:
    """Training in the block is stopped after its first step."""
    step = Fit._step

    def signalled(fit: Fit, *given: Any) -> None:
        step(fit, *given)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fit, "_step", signalled)
        yield


def line(command: str, run: Path, parent: Path, out: Path) -> list[str]:
    """The command line by which a command reads a run, and writes `out`."""
    lines = {
        "recommend": ["recommend", run, "--histories", parent / "requests.csv", "--output", out, "-k", "3"],
        "predict": ["predict", run, "--input", parent / "requests.csv", "--output", out],
        "evaluate": ["evaluate", run],
        "calibrate": ["calibrate", run],
        "compare": ["compare", parent / run.name, run],
        "merge": ["merge", run, "--output", out],
        "warm start": ["train", parent / "ids.yaml", f"train.warm_start={run}", "--output", out],
        "resume": ["train", parent / "stopped.yaml", "--output", run.with_suffix(""), "--resume"],
    }
    return [str(word) for word in lines[command]]


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
    other = runs.folders[draw.choice(["ids", "text", "stopped"])]
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


def sums_made_to_fit(run: Path) -> None:
    """Write the checksums of a finished run again, or of the checkpoints of a stopped one."""
    if run.suffix != ".unfinished":
        write_checksums(run)
    for folder in (run / "checkpoints").glob("*"):
        names = ("weights.safetensors", "optimizer.safetensors", "state.json")
        sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
        (folder / "manifest.json").write_text(json.dumps(sums))


def listed(draw: Random, run: Path, _: Runs) -> None:
    """A name in the manifest."""
    file = next(run.rglob("manifest.json"))
    content = json.loads(file.read_text())
    names = ["../x", "/etc/passwd", "..\\x", "a\0b", "adapter/../../x", "", "x" * 3_000, "notes.txt", "\ud800"]
    content.get("files", content)[draw.choice(names)] = draw.choice(["0" * 64, None, 7, ["x"]])
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


class Mutant(NamedTuple):
    """A changed copy of a run."""

    run: Path
    command: str
    """The one that reads it."""
    fits: bool
    """Whether its checksums were made to fit."""


def mutant(draw: Random, runs: Runs, here: Path) -> Mutant:
    """A mutant of one of the runs."""
    name = draw.choice(["ids", "ids", "text", "text", "stopped"])
    run = Path(shutil.copytree(runs.folders[name], here / runs.folders[name].name))
    fits = draw.random() < 0.75
    for turn in range(draw.choice([1, 1, 1, 2])):
        change = draw.choice(
            [each for each in (FITTING if fits else OTHERS) if name != "stopped" or each != table_changed]
        )
        with suppress(Exception) if turn else nullcontext():  # it may find a file broken
            change(draw, run, runs)
    if fits:
        with suppress(ArtifactError, OSError):  # where a file is a folder now, or missing
            sums_made_to_fit(run)
    return Mutant(run, draw.choice(COMMANDS[name]), fits)


def check(message: str | None, each: Mutant, out: Path, before: list[Path], runs: Runs) -> None:
    """Refused without an output, or answered in the same form, and as before where the checksums were left alone."""
    now = sorted(out.parent.rglob("*"))
    if each.command == "resume":  # writes what can be written, the backbone's copy too, before it reads the checkpoint
        assert message is None or {path for path in before if "backbone" not in path.parts} <= set(now), message
    elif message is not None or each.command in ("evaluate", "compare"):
        assert now == before, message
    elif each.command in ("predict", "recommend"):
        assert now == sorted([*before, out])
        former = list(csv.DictReader(runs.answers[each.run.name].splitlines()))
        answers = list(csv.DictReader(out.read_text().splitlines()))
        if not each.fits:
            assert answers == former
        assert all(row.keys() == former[0].keys() for row in answers)
        assert all(math.isfinite(float(row["score"])) for row in answers if row["score"])


def test_a_mutant_of_a_run_is_refused_or_read_by_each_command(
    seed: int, draw: Random, here: Path, runs: Runs, refused: Refused
) -> None:
    each = mutant(draw, runs, here)
    before, out = sorted(here.rglob("*")), here / "out.csv"
    check(refused(*line(each.command, each.run, runs.parent, out)), each, out, before, runs)


def test_a_mutant_of_a_run_is_refused_or_read_in_a_process_of_its_own(
    process_seed: int, draw: Random, here: Path, runs: Runs, refused_by_process: Refused
) -> None:
    each = mutant(draw, runs, here)
    before, out = sorted(here.rglob("*")), here / "out.csv"
    check(refused_by_process(*line(each.command, each.run, runs.parent, out)), each, out, before, runs)
