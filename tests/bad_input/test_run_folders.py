"""Run folders: existing, unfinished, impossible, truncated, tampered with, and folders to merge into."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lorarec.artifact.layout import write_checksums
from lorarec.artifact.reader import read_run
from lorarec.artifact.writer import RunWriter
from lorarec.config.recipe import TrainSection
from lorarec.config.yaml_text import read_yaml, write_yaml
from lorarec.errors import ArtifactError
from lorarec.pipeline.load import open_run_recipe
from lorarec.registry.registry import Registry

FILES = [
    *("recipe.yaml", "head.safetensors", "catalog.parquet", "statistics.json", "metrics.json", "environment.json"),
    *("item_vectors.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"),
    *("backbone/model.safetensors", "manifest.json", "history.jsonl"),
]


def test_a_folder_that_exists_is_not_overwritten(recipe: Callable[..., Path], refused: Callable[..., str]) -> None:
    Path("run").mkdir()
    says = ["run exists already. Name another folder with --output, or remove it."]
    refused("train", recipe(), "--output", "run", says=says)
    refused("train", recipe(), "--output", "run", "--resume", says=says)
    Path("run/metrics.json").write_text("{}")
    says = ["run exists already: that run is finished, there is nothing to resume."]
    refused("train", recipe(), "--output", "run", "--resume", says=says)


def test_an_unfinished_run_is_not_started_again_by_accident(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    Path("run.unfinished").mkdir()
    refused("train", recipe(), "--output", "run", says=["run.unfinished", "Add --resume", "or remove that folder"])


def test_a_finished_run_is_kept_if_its_output_folder_was_created_in_the_meantime(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.start("name: mine\n", {})
    (tmp_path / "run").mkdir()
    with pytest.raises(ArtifactError, match="the finished run is in"):
        writer.finish()
    writer.discard()
    assert (writer.folder / "recipe.yaml").read_text() == "name: mine\n"


def test_a_refused_resume_keeps_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    stopped = RunWriter(tmp_path / "run")
    stopped.start("name: mine\n", {})
    RunWriter(tmp_path / "run").discard()
    assert (stopped.folder / "recipe.yaml").read_text() == "name: mine\n"
    stopped.discard()
    assert not stopped.folder.exists()


def test_resuming_without_a_stopped_run_warns_and_starts_from_the_beginning(
    recipe: Callable[..., Path], command: Callable[..., Any]
) -> None:
    result = command("train", recipe(), "--output", "run", "--resume")
    assert result.code == 0
    assert "WARNING: run.unfinished does not exist, so the run starts from the beginning." in result.err


def test_resuming_in_a_folder_of_other_files_leaves_them_unchanged(
    recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    Path("run.unfinished").mkdir()
    Path("run.unfinished/thesis.tex").write_text("years of work")
    says = ["run.unfinished does not hold a stopped run", "Move them"]
    refused("train", recipe(), "--output", "run", "--resume", says=says)


def test_a_folder_that_cannot_be_created_is_refused_before_any_work(
    recipe: Callable[..., Path], refused: Callable[..., str], finished_run: Callable[[str], Path]
) -> None:
    Path("file").write_text("")
    Path("link").symlink_to("nothing")
    reasons = {
        "file/run": "A part of the path is a file",
        "link/run": "Nothing can be created there",
        "/proc/run": "Nothing can be created there",
        "a" * 300: "The name is too long",
        "a" * 250: "The name is too long",
        "a/" * 3000: "The name is too long",
        "run/..": "is no name that a file or folder can have",
        "~/run": "begins with ~, which your shell did not replace",
        "/": "is no name that a file or folder can have",
        "": "is no name that a file or folder can have",
        "link": "exists already",
    }
    for name, says in reasons.items():
        refused("train", recipe(), "--output", name, says=[says])
        refused("merge", finished_run("ctr"), "--output", name, says=[says])


def test_answers_that_could_not_be_written_are_refused_before_any_work(
    refused: Callable[..., str], finished_run: Callable[[str], Path]
) -> None:
    Path("requests.csv").write_text("item,history\ni1,i2\n")
    Path("file").write_text("")
    reasons = {"file/x.csv": "no folder file", "/proc/x.csv": "Nothing can be created", "a" * 300 + ".csv": "too long"}
    for name, says in reasons.items():
        refused("predict", finished_run("ctr"), "--input", "requests.csv", "--output", name, says=[says])
        refused("recommend", finished_run("ctr"), "--histories", "requests.csv", "--output", name, says=[says])
    says = ["File name too long"]
    refused("predict", finished_run("ctr"), "--input", "a" * 300 + ".csv", "--output", "x.csv", says=says)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_a_changed_and_a_missing_file_are_named(
    name: str, copied_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    run = copied_run("next_item")
    file = run / name
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    refused("evaluate", run, says=[f"{file}: not as it was written"])
    if name != "manifest.json":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        refused("merge", run, "--output", "plain", says=[f"{file}: not as it was written (truncated or changed)"])
    file.unlink()
    refused("evaluate", run, says=[str(run), "missing", "Train"])


def test_files_missing_from_the_manifest_are_refused(
    copied_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    run = copied_run("ctr")
    manifest = run / "manifest.json"
    sums = json.loads(manifest.read_text())["files"]
    del sums["head.safetensors"]
    for forged, says in ((sums, "head.safetensors is not listed in manifest.json"), ({}, "is not listed in")):
        manifest.write_text(json.dumps(forged))
        refused("evaluate", run, says=[says, "train the run again"])
    manifest.write_text("[]")
    refused("evaluate", run, says=[f"{manifest}: not as it was written", "Train the run again"])


def test_a_run_of_the_first_format_is_read_and_one_of_a_newer_lorarec_refused(
    copied_run: Callable[[str], Path], refused: Callable[..., str], command: Callable[..., Any]
) -> None:
    run = copied_run("ctr")
    manifest = run / "manifest.json"
    written = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(written["files"]))
    assert command("merge", run, "--output", "plain").code == 0
    manifest.write_text(json.dumps({"format": written["format"] + 1, "files": {}}))
    refused("evaluate", run, says=[str(run), f"format {written['format'] + 1}", "Upgrade lorarec"])


def test_a_recipe_of_another_version_is_refused_with_the_unknown_setting(
    copied_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    run = copied_run("ctr")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("label_smoothing:", "softening:"))
    write_checksums(run)
    says = [f"{run}: its recipe is of another version", "'softening'", "environment.json"]
    refused("evaluate", run, says=says, lines=3)


def test_a_head_of_another_version_is_named(copied_run: Callable[[str], Path], refused: Callable[..., str]) -> None:
    run = copied_run("ctr")
    file = run / "head.safetensors"
    save_file({f"former.{name}": weight for name, weight in load_file(file).items()}, file)
    write_checksums(run)
    refused("evaluate", run, says=[str(run), "head 'ctr' has other weights now", "Train again"])


def test_the_model_card_and_the_users_own_files_may_be_changed(
    copied_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    run = copied_run("ctr")
    (run / "README.md").write_text("Ours now.")
    (run / "notes.txt").write_text("Ours as well.")
    assert command("evaluate", run).code == 0


def test_a_run_that_does_not_exist_is_named(refused: Callable[..., str]) -> None:
    refused("evaluate", "nowhere", says=["There is no run folder nowhere."])
    Path("empty").mkdir()
    refused(
        "merge", "empty", "--output", "plain", says=["empty is not a complete run folder: 'recipe.yaml' is missing"]
    )


def test_a_backbone_that_was_deleted_is_read_from_the_runs_copy(
    recipe: Callable[..., Path], command: Callable[..., Any], tiny_checkpoint: Callable[[str], Path]
) -> None:
    shutil.copytree(tiny_checkpoint("bert"), "bert")
    assert command("train", recipe(), "backbone.checkpoint=./bert", "--output", "run").code == 0
    shutil.rmtree("bert")
    assert command("evaluate", "run").code == 0


def test_merging_into_a_folder_that_exists_is_refused(
    finished_run: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    Path("plain").mkdir()
    refused("merge", finished_run("ctr"), "--output", "plain", says=["plain exists already"])


def test_an_adapter_that_cannot_be_merged_is_refused_with_those_that_can(
    recipe: Callable[..., Path], command: Callable[..., Any], refused: Callable[..., str]
) -> None:
    assert command("train", recipe(), "adapter=prefix", "adapter.tokens=4", "--output", "run").code == 0
    says = ["Adapter 'prefix' cannot be merged", "train with lora, adalora or full"]
    refused("merge", "run", "--output", "plain", says=says)


def test_a_run_whose_settings_were_renamed_since_can_be_read(
    copied_run: Callable[[str], Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied_run("ctr")
    recipe = run / "recipe.yaml"
    former = recipe.read_text().replace("  epochs:", "  rounds:").replace("  max_history:", "  memory:")
    assert "rounds" in former and "memory" in former
    recipe.write_text(former)
    write_checksums(run)
    monkeypatch.setattr(TrainSection, "renamed", {"rounds": "epochs"})
    monkeypatch.setattr(Registry.discover().find("head", "ctr").Config, "renamed", {"memory": "max_history"})
    assert command("evaluate", run).code == 0


def test_a_run_whose_loss_renamed_a_setting_since_can_be_read(
    copied_run: Callable[[str], Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied_run("ctr")
    recipe = run / "recipe.yaml"
    former = recipe.read_text().replace("label_smoothing:", "softening:")
    assert "softening" in former
    recipe.write_text(former)
    write_checksums(run)
    monkeypatch.setattr(Registry.discover().find("loss", "bce").Config, "renamed", {"softening": "label_smoothing"})
    assert command("evaluate", run).code == 0


def test_a_run_of_the_second_format_is_read_with_its_former_names(
    copied_run: Callable[[str], Path], command: Callable[..., Any]
) -> None:
    run = copied_run("next_item")
    statistics, head = run / "statistics.json", run / "head.safetensors"
    statistics.write_text(statistics.read_text().replace("label_levels", "label_values"))
    weights = load_file(head)
    former = {name.replace("distance_bias", "ago"): weight for name, weight in weights.items()}
    assert former.keys() != weights.keys() and "label_values" in statistics.read_text()
    save_file(former, head)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("shuffle_block_size:", "shuffle_block:"))
    metrics = run / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"evaluated":', '"judged":').replace("the catalog", "the catalogue"))
    write_checksums(run)
    assert command("evaluate", run).code == 0


def test_the_column_of_evaluated_users_of_a_former_run_is_read_by_its_present_name(
    copied_run: Callable[[str], Path],
) -> None:
    run = copied_run("ctr")
    recipe, _ = read_yaml((run / "recipe.yaml").read_text(), "recipe.yaml")
    recipe["data"]["source"] = {"name": "sequences", "path": "folder", "judged": "users.parquet"}
    recipe["data"]["split"] = {"by": "last", "users": "judged"}
    (run / "recipe.yaml").write_text(write_yaml(recipe))
    write_checksums(run)
    resolved = open_run_recipe(read_run(run))
    assert resolved.recipe.data.split.users == "eval_users"
    assert resolved.source.config.model_dump()["eval_users"] == "users.parquet"
