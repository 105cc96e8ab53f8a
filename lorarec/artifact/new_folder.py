"""A folder that is about to be written: refuse before any work is done if it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

from lorarec.errors import ArtifactError


def check_new_folder(output: Path) -> None:
    """Raises ArtifactError if `output` exists, or if there is no place where it could be made."""
    if output.exists() or output.is_symlink():
        raise ArtifactError(f"{output} exists already. Name another folder with --output, or remove it.")
    nearest = next(parent for parent in output.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        what = "may not be written to" if nearest.is_dir() else "is no folder"
        raise ArtifactError(f"{output} cannot be made: {nearest} {what}. Name another folder with --output.")
