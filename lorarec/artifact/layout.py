"""Layout of a run folder: every name in it, its format version, and the manifest that says whether it is complete."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lorarec.disk import write_text
from lorarec.errors import ArtifactError
from lorarec.untrusted import UntrustedError, is_inside, plain_files, read_json

RECIPE = "recipe.yaml"
ADAPTER = "adapter"
HEAD = "head.safetensors"
BACKBONE = "backbone"
CATALOG = "catalog.parquet"
FEATURES = "feature_"
"""Prefix of the catalog's columns that hold item features."""
STATISTICS = "statistics.json"
ITEM_VECTORS = "item_vectors.safetensors"
METRICS = "metrics.json"
CALIBRATION = "calibration"
"""Beginning of the name of the calibration's file. The rest is its checksum, or nothing up to format 3: a new file is
written first, and then the manifest, which says which one belongs to the run."""
TEST_SCORES = "test_scores.parquet"
USER = "user"
"""The column of the test scores with the user of each row; the others are the predictor's."""
HISTORY = "history.jsonl"
DATA_REPORT = "data_report.json"
ENVIRONMENT = "environment.json"
MODEL_CARD = "README.md"
MANIFEST = "manifest.json"
PROFILE = "profile"
CHECKPOINTS = "checkpoints"

FORMAT = 4
"""Version of the run folder, recorded in the manifest. Still read are 1, whose manifest has checksums alone, 2, with
former names in STATISTICS, HEAD and the protocol, and 3, with one name for every calibration. A change that an older
lorarec would misread takes the next number."""

REQUIRED = (RECIPE, ADAPTER, HEAD, CATALOG, STATISTICS, METRICS, ENVIRONMENT, MANIFEST)
OPTIONAL = (BACKBONE, ITEM_VECTORS, TEST_SCORES, HISTORY, DATA_REPORT, MODEL_CARD, PROFILE, CHECKPOINTS)
"""Any other file in the folder belongs to the user."""
EDITABLE = (MANIFEST, MODEL_CARD)
"""Files without a checksum: a model card is meant to be edited."""


def unfinished(output: Path) -> Path:
    """The folder of a run until it is complete: next to its final name, on the same disk, so that it can be renamed."""
    return output.with_name(output.name + ".unfinished")


def write_checksums(folder: Path) -> None:
    """Record the format version and the checksum of every file of the run."""
    _write_manifest(folder, {name: _checksum(folder / name) for name in _files(folder)})


def write_calibration(folder: Path, text: str) -> None:
    """Write the calibration of a checked run, and then the manifest, which replaces an earlier calibration by it."""
    name = f"{CALIBRATION}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    write_text(folder / name, text)
    others = {file: checksum for file, checksum in _read_sums(folder / MANIFEST).items() if not is_calibration(file)}
    _write_manifest(folder, others | {name: _checksum(folder / name)})
    for path in folder.iterdir():
        if is_calibration(path.name) and path.name != name:
            path.unlink()


def is_calibration(name: str) -> bool:
    """Whether a file of this name in a run folder holds a calibration."""
    return re.fullmatch(rf"{CALIBRATION}(-[0-9a-f]{{16}})?\.json", name) is not None


def _write_manifest(folder: Path, sums: Mapping[str, str]) -> None:
    write_text(folder / MANIFEST, json.dumps({"format": FORMAT, "files": sums}, indent=1))


def check_checksums(folder: Path) -> dict[str, str]:
    """Check every file of the run against the manifest, without following a link in the folder. Returns the manifest's
    checksums by file.

    Raises ArtifactError naming the first file that is missing, was changed or is not a plain one, or if a newer lorarec
    wrote the folder.
    """
    if not folder.is_dir():
        raise ArtifactError(f"There is no run folder {folder}.")
    check_plain(folder)
    for name in REQUIRED:
        if not (folder / name).exists():
            raise ArtifactError(f"{folder} is not a complete run folder: '{name}' is missing. Train it again.")
    sums, files = _read_sums(folder / MANIFEST), _files(folder)
    for name in sorted(sums.keys() - set(files)):
        if _is_listed(name):  # otherwise a user's own file, which an earlier lorarec has listed
            raise ArtifactError(f"{folder / name} is missing. Train the run again, or restore the file.")
    for name in files:
        if name not in sums:
            if is_calibration(name):  # of a process that was killed while it replaced one by the other
                continue
            raise ArtifactError(
                f"{folder / name} is not listed in {MANIFEST}, so one of the two was changed since the run was "
                "written. Remove the file if you added it; otherwise train the run again."
            )
        if _checksum(folder / name) != sums[name]:
            raise ArtifactError(
                f"{folder / name}: not as it was written (truncated or changed). Train the run again, or restore the "
                "file."
            )
    return sums


def check_plain(folder: Path) -> None:
    """Raises ArtifactError if anything of a run, finished or not, is a link, a device or a pipe: nothing outside of the
    folder is read or written through it."""
    try:
        plain_files(folder, lambda name: name in (*REQUIRED, *OPTIONAL) or is_calibration(name))
    except UntrustedError as error:
        raise ArtifactError(f"{folder}: {error}. Copy the run with its files in place (cp -rL).") from None


def _read_sums(manifest: Path) -> dict[str, str]:
    try:
        content = read_json(manifest)
        if not isinstance(content, dict):
            raise ValueError("it holds no list of files")
        if "files" not in content:  # the first format: only the files, none of which is called "files"
            content = {"format": 1, "files": content}
        sums, version = content["files"], content.get("format")
        if not isinstance(sums, dict) or type(version) is not int or not 0 < version < 10**6:
            raise ValueError("it holds no list of files, or no version")
        if outside := [name for name in sums if not is_inside(name)]:
            raise ValueError(f"{outside[0][:100]!r} is no file inside the folder")
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{manifest}: not as it was written ({error}). Train the run again.") from error
    if version > FORMAT:
        raise ArtifactError(
            f"{manifest.parent}: a newer lorarec wrote this run (format {version}; this one reads up to "
            f"{FORMAT}). Upgrade lorarec to read it."
        )
    return sums


def _files(folder: Path) -> list[str]:
    """Every file that has a checksum: checkpoints are deleted before the run is renamed, and a profile may be deleted
    at any time. Other files in the folder are the user's own."""
    return [name for name in plain_files(folder, _is_listed) if PurePosixPath(name).name not in EDITABLE]


def _is_listed(name: str) -> bool:
    top = PurePosixPath(name).parts[0]
    return top in {*REQUIRED, *OPTIONAL} - {CHECKPOINTS, PROFILE} or is_calibration(top)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
