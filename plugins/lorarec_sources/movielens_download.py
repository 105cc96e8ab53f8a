"""Fetch a MovieLens set from GroupLens, once, and check it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from lorarec.contracts import DataError, cache_folder

ADDRESS = "https://files.grouplens.org/datasets/movielens/{variant}.zip"
CHECKSUMS = {"ml-100k": "0e33842e24a9c977be4e0107933c0723", "ml-1m": "c4d9eecfca2ab87c1945afe126590906"}
"""MD5, as GroupLens publishes it beside each archive."""
PATIENCE = 20.0
"""Seconds without an answer after which the server counts as unreachable."""


def downloaded(variant: str) -> Path:
    """The set's folder in the cache, fetched if it is not there yet.

    Unpacked aside and renamed, so several processes may do this at once. Raises DataError where the server
    cannot be reached or sends other bytes than expected.
    """
    folder = cache_folder() / "movielens" / variant
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        archive = Path(aside) / f"{variant}.zip"
        _fetch(ADDRESS.format(variant=variant), archive)
        _verify(archive, variant)
        with zipfile.ZipFile(archive) as content:
            content.extractall(aside)
        try:
            os.replace(Path(aside) / variant, folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    return folder


def _fetch(address: str, archive: Path) -> None:
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer, archive.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:  # URLError, HTTPError and timeouts are OSErrors
        raise DataError(
            f"{address}: could not be downloaded: {error}. Fetch and unpack it elsewhere and say "
            "where it is: "
            "data.source.path=FOLDER."
        ) from error


def _verify(archive: Path, variant: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != CHECKSUMS[variant]:
        raise DataError(
            f"{ADDRESS.format(variant=variant)}: the archive's MD5 is {found}, but "
            f"{CHECKSUMS[variant]} is expected. "
            "It may be cut short, or the server's file has changed. Try again, or give a folder you trust: "
            "data.source.path=FOLDER."
        )
