"""Run folders that an enemy has written: their checksums fit, and their content reaches outside, explodes or lies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from lorarec.artifact.layout import write_checksums
from lorarec.artifact.reader import read_run
from lorarec.errors import ArtifactError

MANY = 2_000_000


@pytest.fixture
def forged(copied_run: Callable[[str], Path]) -> Callable[..., str]:
    """forged(change, head): the error of reading a copied run that `change` has modified. Its checksums are made to fit
    afterwards, unless `sums` is False."""

    def read(change: Callable[[Path], Any], head: str = "next_item", *, sums: bool = True) -> str:
        run = copied_run(head)
        change(run)
        if sums:
            write_checksums(run)
        with pytest.raises(ArtifactError) as refusal:
            read_run(run)
        message = str(refusal.value)
        assert "\n" not in message and len(message) < 1_000 and run.name in message
        return message

    return read


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "adapter/../../x", "..\\x", "C:x", "a\0b", "", ".", "./recipe.yaml", "a//b", "\ud800:"],
)
def test_a_manifest_names_files_inside_the_folder_alone(name: str, forged: Callable[..., str]) -> None:
    def manifest(run: Path) -> None:
        content = json.loads((run / "manifest.json").read_text())
        content["files"][name] = "0" * 64
        (run / "manifest.json").write_text(json.dumps(content))

    assert "is no file inside the folder" in forged(manifest, sums=False)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"files": {}, "format": true}', '{"files": {}, "format": 1e400}', " " * 2**24 + "{}"]
)
def test_a_manifest_of_another_form_is_refused(content: str, forged: Callable[..., str]) -> None:
    message = forged(lambda run: (run / "manifest.json").write_text(content), sums=False)
    assert "manifest.json: not as it was written" in message


@pytest.mark.parametrize(
    "name", ["recipe.yaml", "adapter", "adapter/adapter_model.safetensors", "backbone", "manifest.json"]
)
def test_a_link_in_the_folder_is_not_followed(name: str, forged: Callable[..., str], tmp_path: Path) -> None:
    def link(run: Path) -> None:
        moved = tmp_path / "elsewhere"
        (run / name).rename(moved)
        (run / name).symlink_to(moved)

    assert f"'{name}' is a link" in forged(link, sums=False)


def test_a_run_folder_may_itself_be_a_link(copied_run: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(copied_run("ctr"))
    assert len(read_run(tmp_path / "link").catalog)


@pytest.mark.parametrize("name", ["recipe.yaml", "profile/trace", "backbone/config.json", "manifest.json"])
def test_a_pipe_in_the_folder_is_refused_and_not_waited_for(name: str, forged: Callable[..., str]) -> None:
    def pipe(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    assert "is neither a file nor a folder" in forged(pipe, sums=False)


def test_too_many_and_too_deep_files_are_refused(forged: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "adapter/" + "/".join("a" * 12)
    assert "nested more than" in forged(lambda run: (run / deep).mkdir(parents=True), sums=False)
    monkeypatch.setattr("lorarec.untrusted.MOST_FILES", 5)
    assert "more than 5 files" in forged(lambda _: None, "ctr", sums=False)


def test_what_the_user_keeps_in_the_folder_is_not_looked_at(copied_run: Callable[[str], Path]) -> None:
    run = copied_run("ctr")
    (run / "data").symlink_to("/")
    os.mkfifo(run / "pipe")
    write_checksums(run)
    assert set(json.loads((run / "manifest.json").read_text())["files"]).isdisjoint({"pipe", "data"})
    assert len(read_run(run).catalog)


@pytest.mark.parametrize("file", ["statistics.json", "metrics.json", "environment.json"])
@pytest.mark.parametrize("content", ["[]", "null", "{", "[" * 100_000, '"text"', "7", "\xff", " " * 2**24 + "{}"])
def test_json_of_another_form_is_refused(file: str, content: str, forged: Callable[..., str]) -> None:
    message = forged(lambda run: (run / file).write_bytes(content.encode("latin-1")), "ctr")
    assert f"{file}: not as it was written" in message


@pytest.mark.parametrize(
    ("file", "entry", "value"),
    [
        ("statistics.json", "label_mean", float("nan")),
        ("statistics.json", "label_max", float("inf")),
        ("statistics.json", "liked_above", None),
        ("statistics.json", "label_min", 1e39),
        ("statistics.json", "liked_feedback", -1e308),
        ("statistics.json", "label_levels", [1.0, 1e300]),
        ("statistics.json", "label_levels", [0.0] * 101),
        ("statistics.json", "label_levels", "ab"),
        ("statistics.json", "more", 1),
        ("metrics.json", "test", []),
        ("metrics.json", "test", {"auc": "high"}),
        ("metrics.json", "validation", None),
        ("metrics.json", "protocol", {"rows": {}}),
    ],
)
def test_a_value_of_another_kind_is_named(file: str, entry: str, value: Any, forged: Callable[..., str]) -> None:
    def change(run: Path) -> None:
        (run / file).write_text(json.dumps(json.loads((run / file).read_text()) | {entry: value}))

    assert f"{file}: not as it was written ({entry}" in forged(change, "ctr")


@pytest.mark.parametrize(
    "content",
    [
        {"method": "temperature", "temperature": 0},
        {"method": "temperature", "temperature": -1.0},
        {"method": "temperature", "temperature": float("nan")},
        {"method": "temperature", "temperature": float("inf")},
        {"method": "temperature", "temperature": "1"},
        {"method": "temperature", "temperature": 10**400},
        {"method": "isotonic", "scores": [0.1, 0.2], "probabilities": [0.9, 0.1]},
        {"method": "isotonic", "scores": [0.2, 0.1], "probabilities": [0.1, 0.9]},
        {"method": "isotonic", "scores": [0.1], "probabilities": [0.1, 0.9]},
        {"method": "isotonic", "scores": [], "probabilities": []},
        {"method": "isotonic", "scores": [0.1, float("nan")], "probabilities": [0.1, 0.9]},
        {"method": "isotonic", "scores": [0.1, 0.2], "probabilities": [0.1, 1.5]},
        {"method": "isotonic", "scores": [[0.1]], "probabilities": [[0.1]]},
        {"method": "isotonic", "scores": {"a": 1}, "probabilities": [0.1]},
        {"method": ["temperature"]},
        {"temperature": 1.0},
        [],
    ],
)
def test_a_calibration_that_cannot_have_been_fitted_is_refused(content: Any, forged: Callable[..., str]) -> None:
    message = forged(lambda run: (run / "calibration.json").write_text(json.dumps(content)), "ctr")
    assert "calibration.json: not as it was written" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("file", ["head.safetensors", "item_vectors.safetensors"])
def test_weights_that_are_not_finite_are_refused_by_name(file: str, value: float, forged: Callable[..., str]) -> None:
    named = []

    def change(run: Path) -> None:
        weights = load_file(run / file)
        name = next(name for name, weight in weights.items() if weight.is_floating_point() and weight.numel())
        weights[name].view(-1)[-1] = value
        named.append(name)
        save_file(weights, run / file)

    message = forged(change)
    assert f"{file}: weight '{named[0]}' holds numbers that are NaN or infinite" in message


@pytest.mark.parametrize("change", [lambda v: v[1:], lambda v: v.double(), lambda v: v[0], lambda v: v.bfloat16()])
def test_item_vectors_of_another_shape_or_type_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], forged: Callable[..., str]
) -> None:
    def replace(run: Path) -> None:
        file = run / "item_vectors.safetensors"
        save_file({"item_vectors": change(load_file(file)["item_vectors"]).contiguous()}, file)

    assert "item_vectors.safetensors: not as it was written (it holds torch." in forged(replace)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, (2**40).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}x"]
)
def test_weight_files_with_a_false_header_are_refused(content: bytes, forged: Callable[..., str]) -> None:
    message = forged(lambda run: (run / "head.safetensors").write_bytes(content))
    assert "head.safetensors: not as it was written" in message


def catalog_with(**columns: Any) -> Callable[[Path], Any]:
    """Replaces columns of the catalog; None removes one."""

    def change(run: Path) -> None:
        table = pq.read_table(run / "catalog.parquet")
        for name, values in columns.items():
            table = table.drop_columns([name] if name in table.column_names else [])
            if values is not None:
                table = table.append_column(name, values(len(table)))
        pq.write_table(table, run / "catalog.parquet")

    return change


@pytest.mark.parametrize(
    "change",
    [
        catalog_with(item=None),
        catalog_with(text=None),
        catalog_with(item=lambda n: pa.array(range(n))),
        catalog_with(item=lambda n: pa.array([f"{row // 2}" for row in range(n)])),
        catalog_with(title=lambda n: pa.array([None] * n, pa.string())),
        catalog_with(text=lambda n: pa.array([b"\xff"] * n)),
        catalog_with(training_events=None),
        catalog_with(training_events=lambda n: pa.array([-1] * n)),
        catalog_with(training_events=lambda n: pa.array([None] * n, pa.int64())),
        catalog_with(training_events=lambda n: pa.array([0.5] * n)),
        catalog_with(feature_genre=lambda n: pa.array([[float("nan")]] * n, pa.list_(pa.float32(), 1))),
        catalog_with(feature_genre=lambda n: pa.array([["a"]] * n)),
        lambda run: (run / "catalog.parquet").write_bytes(b"PAR1PAR1"),
        lambda run: pq.write_table(pq.read_table(run / "catalog.parquet")[:0], run / "catalog.parquet"),
    ],
)
def test_a_catalog_of_another_form_is_refused(change: Callable[[Path], Any], forged: Callable[..., str]) -> None:
    assert "catalog.parquet: not as it was written" in forged(change)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (lambda: pa.table({"item": pa.array(np.zeros(10**7, np.int64))}), "claims 10,000,000 rows"),
        (lambda: pa.table({"text": pa.array(["x" * 100_000] * 1_000)}), "take more than"),
        (lambda: pa.table({"n": pa.ListArray.from_arrays([0, MANY], np.zeros(MANY, np.int8))}), "2,000,000 values"),
    ],
    ids=["rows", "long texts", "lists"],
)
def test_a_catalog_that_grows_when_it_is_read_is_refused(
    table: Callable[[], pa.Table], says: str, forged: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorarec.artifact.parquet.SMALLEST", 2**20)
    message = forged(lambda run: pq.write_table(table(), run / "catalog.parquet"))
    assert says in message


def test_a_catalog_in_another_compression_is_refused(forged: Callable[..., str]) -> None:
    table = pa.table({"text": ["x" * 10**6]})
    message = forged(lambda run: pq.write_table(table, run / "catalog.parquet", compression="zstd"))
    assert "compressed as ZSTD" in message
