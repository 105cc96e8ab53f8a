"""Layout of a run folder: every name in it, its format version, and the manifest that says whether it is complete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath

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
CALIBRATION = "calibration.json"
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

FORMAT = 3
"""Version of the run folder, recorded in the manifest. Still read are 1, whose manifest has checksums alone, and 2,
with former names in STATISTICS, HEAD and the protocol. A change that an older lorarec would misread takes the next
number."""

REQUIRED = (RECIPE, ADAPTER, HEAD, CATALOG, STATISTICS, METRICS, ENVIRONMENT, MANIFEST)
OPTIONAL = (BACKBONE, ITEM_VECTORS, CALIBRATION, TEST_SCORES, HISTORY, DATA_REPORT, MODEL_CARD, PROFILE, CHECKPOINTS)
"""Any other file in the folder belongs to the user."""
EDITABLE = (MANIFEST, MODEL_CARD)
"""Files without a checksum: a model card is meant to be edited."""


def unfinished(output: Path) -> Path:
    """The folder of a run until it is complete: next to its final name, on the same disk, so that it can be renamed."""
    return output.with_name(output.name + ".unfinished")


def write_checksums(folder: Path) -> None:
    """Record the format version and the checksum of every file of the run."""
    sums = {name: _checksum(folder / name) for name in _files(folder)}
    manifest = {"format": FORMAT, "files": sums}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def check_checksums(folder: Path) -> None:
    """Check every file of the run against the manifest, without following a link in the folder.

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
    for name in sums.keys() - set(files):
        if _is_listed(name):  # otherwise a user's own file, which an earlier lorarec has listed
            raise ArtifactError(f"{folder / name} is missing. Train the run again, or restore the file.")
    for name in files:
        if name not in sums:
            raise ArtifactError(
                f"{folder / name} is not listed in {MANIFEST}, so one of the two was changed since the run was "
                "written. Remove the file if you added it; otherwise train the run again."
            )
        if _checksum(folder / name) != sums[name]:
            raise ArtifactError(
                f"{folder / name}: not as it was written (truncated or changed). Train the run again, or restore the "
                "file."
            )


def check_plain(folder: Path) -> None:
    """Raises ArtifactError if anything of a run, finished or not, is a link, a device or a pipe: nothing outside of the
    folder is read or written through it."""
    try:
        plain_files(folder, (*REQUIRED, *OPTIONAL).__contains__)
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
    return PurePosixPath(name).parts[0] in {*REQUIRED, *OPTIONAL} - {CHECKPOINTS, PROFILE}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
