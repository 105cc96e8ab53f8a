"""Checksums of a folder's files: a truncated or altered one is named, not used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lorarec.artifact.layout import MANIFEST, MODEL_CARD, REQUIRED
from lorarec.errors import ArtifactError

FREE = (MANIFEST, MODEL_CARD)
"""Files that may be edited: a model card is meant to be."""


def write_checksums(folder: Path) -> None:
    """Record the checksum of every file in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in FREE)
    sums = {path.relative_to(folder).as_posix(): _checksum(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(sums, indent=1), encoding="utf-8")


def check_checksums(folder: Path) -> None:
    """Raises ArtifactError naming the first file that is missing or not as it was written."""
    if not folder.is_dir():
        raise ArtifactError(f"There is no run folder {folder}.")
    for name in REQUIRED:
        if not (folder / name).exists():
            raise ArtifactError(f"{folder} is not a whole run folder: '{name}' is missing. Train it again.")
    try:
        sums = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{folder / MANIFEST}: not as it was written ({error}). Train the run again.") from error
    for name, known in sums.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing. Train the run again, or restore the file.")
        if _checksum(path) != known:
            raise ArtifactError(
                f"{path}: not as it was written (truncated or changed). Train the run again, or restore the file."
            )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
