"""Recipes: typos at every level, values out of range, settings without effect, parts that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TYPOS = {
    "trian.epochs=2": "the recipe has no setting 'trian'. Did you mean 'train'?",
    "train.epocs=2": "train has no setting 'epocs'. Did you mean 'epochs'?",
    "data.split.bye=last": "data.split has no setting 'bye'. Did you mean 'by'?",
    "data.history.at_lest=2": "data.history has no setting 'at_lest'. Did you mean 'at_least'?",
    "data.source.usres=4": "source 'synthetic' has no setting 'usres'. Did you mean 'users'?",
    "backbone.poling=cls": "backbone 'text' has no setting 'poling'. Did you mean 'pooling'?",
    "adapter.alhpa=3": "adapter 'lora' has no setting 'alhpa'. Did you mean 'alpha'?",
    "head.negativs=2": "head 'ctr' has no setting 'negativs'. Did you mean 'negatives'?",
    "evaluate.metrcs=[auc]": "evaluate has no setting 'metrcs'. Did you mean 'metrics'?",
    "evaluate.metrics=[aucc]": "There is no metric 'aucc'. Did you mean 'auc'?",
    "data.split.by=tiem": "data.split.by must be one of time, last, random, column, not 'tiem'. Did you mean",
}
WRONG_VALUES = {
    "train.epochs=two": "train.epochs must be a whole number, not 'two'",
    "train.epochs=0": "train.epochs must be at least 1, not 0",
    "seed=-1": "seed must be at least 0, not -1",
    "name=a/b": "name must be text that matches",
    "data.liked_above=nan": "data.liked_above must be a finite number",
    "data.item_text='{titel}'": "no column 'titel'. Did you mean 'title'?",
    "data.columns.stars=rating": "lorarec knows no column 'stars'",
    "backbone.max_length=4": "max_length must be at least 8, not 4",
    "backbone.max_length=1000": "is more than the 128 positions",
    "adapter.targets=[quary]": "target 'quary' matches no linear layer of backbone 'text' (bert). Did you mean",
    "data.source.events=100000": "100000 events are too many for 40 users and 30 items",
    "train.epochs": "there is no '='. Write key=value",
}
DEAD_OPTIONS = {
    "data.split={by: last, validation: 0.3}": "'validation: 0.3' does nothing with 'by: last'. Leave it out",
    "data.split={by: column, test: 0.3}": "'test: 0.3' does nothing with 'by: column'",
    "data.split.column=part": "'column: part' does nothing with 'by: time'",
    "data.history.scope=training": "data.history.scope=training would show a model later events of its users",
    "evaluate.metrics=[auc,auc]": "metric 'auc' is given twice",
    "evaluate.metrics=[ndcg@10]": "needs ranks, which head 'ctr' does not give. Metrics for it:",
    "train.trackers=[wandbb]": "train.trackers: accelerate knows no tracker 'wandbb'. It knows: ",
    "train.processes=2": "train.processes asks for 2 processes, but 1 is running together",
}


@pytest.mark.parametrize("override", [*TYPOS, *WRONG_VALUES, *DEAD_OPTIONS])
def test_a_wrong_override_is_named_with_the_correction(
    override: str, recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    says = {**TYPOS, **WRONG_VALUES, **DEAD_OPTIONS}[override]
    refused("train", recipe(), override, "--output", "run", says=[says])


@pytest.mark.parametrize("override", [*TYPOS, "train.epochs=two", "data.split={by: last, validation: 0.3}"])
def test_the_message_names_the_override_that_has_the_mistake(
    override: str, recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    message = refused("train", recipe(), override, "--output", "run", says=[])
    assert message.startswith(f"override '{override}': ")


def test_every_mistake_of_a_file_is_shown_at_once_with_its_line(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    path = recipe(train={"epocs": 2, "batch_size": 0}, adapter={"name": "lora", "rr": 1}, evaluat={})
    lines = path.read_text().splitlines()
    expected = {
        "adapter 'lora' has no setting 'rr'": "  rr: 1",
        "train has no setting 'epocs'": "  epocs: 2",
        "train.batch_size must be at least 1": "  batch_size: 0",
        "the recipe has no setting 'evaluat'. Did you mean 'evaluate'?": "evaluat: {}",
    }
    says = [f"{path}:{lines.index(line) + 1}: {text}" for text, line in expected.items()]
    refused("train", path, "--output", "run", says=says, lines=len(expected))


def test_a_missing_section_a_missing_file_and_invalid_yaml_are_named(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    path = recipe()
    path.write_text(path.read_text().replace("adapter:\n  name: lora\n  r: 2\n", ""))
    refused("train", path, "--output", "run", says=[f"{path}: the recipe needs 'adapter', which is missing"])
    refused("train", "quikstart", says=["quickstart"])
    path.write_text("name: [tiny\n")
    refused("train", path, "--output", "run", says=[f"{path}:2: this is not valid YAML"])
    path.write_bytes(b"name: \xff\n")
    refused("train", path, "--output", "run", says=[f"{path}: byte 6 is not UTF-8"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["backbone=sasrec", "adapter=prefix"], ["Adapter 'prefix' cannot attach to backbone 'sasrec'", "Use lora"]),
        (["adapter=prefix", "train.gradient_checkpointing=true"], ["Set train.gradient_checkpointing=false"]),
        (["adapter=prefix", "adapter.tokens=125"], ["leave 3 of the 128 positions", "Use at most 119"]),
        (["backbone=sasrec", "train.gradient_checkpointing=true"], ["train.gradient_checkpointing=false"]),
        (["evaluate.patience=1", "data.split.validation=0"], ["evaluate.patience=1", "data.split.validation above 0"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_parts_that_do_not_fit_are_refused_with_alternatives(
    overrides: list[str], says: list[str], recipe: Callable[..., Path], refused: Callable[..., Any]
) -> None:
    refused("train", recipe(), *overrides, "--output", "run", says=says)


HOSTILE = {
    "extends: quickstart\nname: a\0b\n": "mutant.yaml:2: the character U+0000 may not be in a recipe. Remove it.",
    "extends: quickstart\nseed: 0x" + "f" * 5000: "mutant.yaml:2: 0xffff",
    'extends: quickstart\nname: "\\UFFFFFFFF"\n': "mutant.yaml: this is not valid YAML: a number is out of range",
    'extends: quickstart\ndescription: "\\ud800"\n': "mutant.yaml:2: '\\ud800' is not Unicode text",
    "extends: quickstart\ndescription: !!binary aGk=\n": "the tag tag:yaml.org,2002:binary is not allowed",
    "%YAML " + "9" * 5000 + ".1\n---\nname: a\n": "mutant.yaml: this is not valid YAML: a number is out of range",
    "extends: /proc/self/environ\n": "/proc/self/environ: the file is empty",
    "extends: /proc/kmsg\n": "/proc/kmsg: the file is empty",
    "extends: /dev/zero\n": "mutant.yaml:1: /dev/zero is a device or pipe; a recipe is a YAML file.",
    "extends: " + "a" * 300 + ".yaml\n": ": File name too long.",
    "extends: quickstart\nhead: " + "a" * 100_000: "mutant.yaml:2: There is no head 'aaa",
    "extends: quickstart\nx: ["
    + "a," * 5000
    + "]": "mutant.yaml: a recipe has at most 5,000 values, aliases included.",
    "extends: quickstart\n# " + "a" * 500_000: "500,022 characters are too many: a recipe has at most 500,000.",
    "extends: quickstart\ndata: {events: {positive: [a], weights: {a: true}}}\n": "weights must be a number",
    "extends: quickstart\ntrain: {epochs: " + "9" * 30 + "}\n": "is too large for a whole number",
}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[20:60])
def test_a_hostile_recipe_is_refused_by_one_short_message(
    text: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mutant.yaml").write_text(text, encoding="utf-8")
    assert len(refused("check", "mutant.yaml", says=[HOSTILE[text]])) < 2_000


def test_of_thousands_of_mistakes_the_first_are_shown_and_the_others_counted(refused: Callable[..., str]) -> None:
    Path("mutant.yaml").write_text("extends: quickstart\n" + "".join(f"x{number}: 1\n" for number in range(2000)))
    message = refused("check", "mutant.yaml", says=["'x0'", "'x12'", "... and 1,987 more lines."], lines=14)
    assert len(message) < 2_000


def test_a_chain_of_recipes_that_extend_one_another_is_refused_at_a_limit(refused: Callable[..., str]) -> None:
    for number in range(3000):
        Path(f"r{number}.yaml").write_text(f"extends: r{number + 1}.yaml\n")
    refused("check", "r0.yaml", says=["more than 20 recipes extend one another"])


@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="fp16 is for GPUs, and there is one")
def test_half_precision_needs_a_gpu(recipe: Callable[..., Path], refused: Callable[..., str]) -> None:
    refused("check", recipe(), "train.precision=fp16", says=["train.precision=fp16 needs a GPU", "Use fp32 or bf16"])


def test_a_process_can_train_in_several_precisions_one_after_another(
    recipe: Callable[..., Path], command: Callable[..., Any]
) -> None:
    for precision in ("fp32", "bf16", "fp32"):
        assert command("train", recipe(), f"train.precision={precision}", "--output", f"{precision}-run").code == 0
        Path(f"{precision}-run").rename(f"{precision}-{len(list(Path().iterdir()))}")


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_no_files(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    diverging = ["train.learning_rate=1.0e+30", "train.max_steps=20", "train.warmup=0"]
    refused("train", recipe(), *diverging, "--output", "run", says=["The loss is", "Lower train.learning_rate"])
