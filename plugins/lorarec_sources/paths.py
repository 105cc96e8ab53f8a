"""Look up files, and list the folder's contents if one is missing."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from lorarec.contracts import SUFFIXES, DataError, did_you_mean

SHOWN = 12
"""Largest number of a folder's files that a message names."""

ELSEWHERE = "The recipe's data.source sets the path of the data, or an override does: data.source.path=PATH."


def expanded(path: str | Path) -> Path:
    """The path with ~ replaced; one of an unknown user stays, where `Path.expanduser` would raise RuntimeError."""
    return Path(os.path.expanduser(path))


def existing_file(path: str | Path) -> Path:
    """The path, if it is a file. Raises DataError naming it, the nearest name and the files of the folder."""
    file = expanded(path)
    if file.is_file():
        return file
    if file.is_dir():
        raise DataError(f"{file}: this is a folder, but a file is expected. {contents(file)}")
    raise DataError(f"{file}: there is no such file.{_nearest(file)} {contents(file.parent)} {ELSEWHERE}")


def existing_files(names: Sequence[str], folder: Path | None = None) -> list[Path]:
    """The files of a table, in this order: those that a pattern such as events/*.parquet matches, and those in a
    folder, are sorted by name. Names are relative to `folder`, or to the working directory.

    Raises DataError for a name or pattern without a file, and for a file that is named twice.
    """
    files: list[Path] = []
    for name in names:
        path = expanded(name) if folder is None else folder / expanded(name)
        if path.is_dir():
            files += _shards(path)
        elif has_magic(name) and not path.exists():
            matches = sorted(Path(match) for match in glob(str(path), recursive=True) if Path(match).is_file())
            if not matches:
                start = Path(re.split(r"[*?[]", str(path), maxsplit=1)[0] + "x").parent
                raise DataError(f"{path}: no file has such a name. {contents(start)}")
            files += matches
        else:
            files.append(existing_file(path))
    for file, times in Counter(files).items():
        if times > 1:
            raise DataError(f"{file}: named twice, so that each of its rows would count twice. Name it once.")
    return files


def _shards(folder: Path) -> list[Path]:
    """The files of a folder that holds one table, sorted by name."""
    shards = sorted(
        path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES) and path.name[0] not in "._"
    )
    if not shards:
        raise DataError(f"{folder}: this folder has no file with one of {', '.join(SUFFIXES)}. {contents(folder)}")
    return shards


def existing_folder(path: str | Path) -> Path:
    """The path, if it is a folder. Raises DataError naming it and the nearest existing names."""
    folder = expanded(path)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise DataError(f"{folder}: this is a file, but a folder is expected. Give the folder that contains it.")
    raise DataError(f"{folder}: there is no such folder.{_nearest(folder)} {contents(folder.parent)} {ELSEWHERE}")


def one_of(folder: Path, stems: Sequence[str], suffixes: Sequence[str], option: str) -> Path | None:
    """The one file of the folder with any of these stems and suffixes, or None.

    Raises DataError naming the candidates if there are several: `option` is the setting that chooses one.
    """
    matches = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and any(path.name.lower() == stem + suffix for stem in stems for suffix in suffixes)
    )
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches)
        raise DataError(f"{folder}: several files could be the {option}: {names}. Set `{option}` to one of them.")
    return matches[0] if matches else None


def missing_field(origin: str, option: str, name: str, available: Sequence[str]) -> DataError:
    """The error for a column that a file lacks and that the source's `option` names."""
    existing = f"There are: {', '.join(available)}."
    return DataError(f"{origin}: no column '{name}'.{did_you_mean(name, available)} {existing} Set `{option}` to one.")


def contents(folder: Path) -> str:
    """A sentence that lists the files of a folder, or says that it is missing."""
    if not folder.is_dir():
        return f"The folder {folder} does not exist either."
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    if not names:
        return f"The folder {folder} is empty."
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"In {folder} there are: {', '.join(names[:SHOWN])}{more}."


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, (other.name for other in path.parent.iterdir()))
