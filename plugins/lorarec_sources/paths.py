"""Find files, and say what is there where one is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorarec.contracts import DataError, did_you_mean

SHOWN = 12
"""How many of a folder's files a message names."""


ELSEWHERE = "Where the data lie is the recipe's data.source to say, or an override: data.source.path=PATH."


def existing_file(path: str | Path) -> Path:
    """The path, if it is a file. Raises DataError naming it, the nearest name and the files that are
    there."""
    file = Path(path).expanduser()
    if file.is_file():
        return file
    if file.is_dir():
        raise DataError(f"{file}: this is a folder, a file is wanted. {contents(file)}")
    raise DataError(f"{file}: there is no such file.{_nearest(file)} {contents(file.parent)} {ELSEWHERE}")


def existing_folder(path: str | Path) -> Path:
    """The path, if it is a folder. Raises DataError naming it and what is there instead."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise DataError(f"{folder}: this is a file, a folder is wanted. Give the folder it lies in.")
    raise DataError(f"{folder}: there is no such folder.{_nearest(folder)} {contents(folder.parent)} {ELSEWHERE}")


def one_of(folder: Path, stems: Sequence[str], suffixes: Sequence[str], option: str) -> Path | None:
    """The one file of the folder called by any of these stems and suffixes, or None.

    Raises DataError naming the candidates where there are several: `option` is what to set then.
    """
    matches = sorted(
        path for path in folder.iterdir() if path.stem in stems and path.suffix in suffixes and path.is_file()
    )
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches)
        raise DataError(f"{folder}: several files could be the {option}: {names}. Set `{option}` to one of them.")
    return matches[0] if matches else None


def missing_field(origin: str, option: str, name: str, available: Sequence[str]) -> DataError:
    """The error for a column that a file lacks and that the source's `option` names."""
    there = f"There are: {', '.join(available)}."
    return DataError(f"{origin}: no column '{name}'.{did_you_mean(name, available)} {there} Set `{option}` to one.")


def contents(folder: Path) -> str:
    """One sentence: the files of a folder, or that it is missing."""
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
