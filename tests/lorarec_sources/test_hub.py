"""The source `hub`, on local folders and on a hub that cannot be reached."""

from __future__ import annotations

import gzip
import lzma
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError

from lorarec.contracts import DataError, RawTables
from lorarec.data.raw_tables import number_tables
from lorarec_sources import hub
from lorarec_sources.hub import HubSource

Write = Callable[[dict[str, str | bytes]], Path]


def load(**options: Any) -> RawTables:
    return HubSource(HubSource.Config(**options)).load()


def refusal(**options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(**options)
    return str(caught.value)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, rows in {"train": "1,a\n2,b\n", "validation": "3,a\n", "test": "4,c\n"}.items():
        (tmp_path / f"{name}.csv").write_text("user,item\n" + rows)
    return tmp_path


def test_all_parts_become_one_table_with_a_split_column(repository: Path) -> None:
    tables = load(path=str(repository))
    assert tables.interactions["user"][:] == [1, 2, 3, 4]
    assert tables.interactions["split"][:] == ["train", "train", "validation", "test"]
    assert tables.columns == {"split": "split"}


def test_a_bad_row_is_named_with_its_split(repository: Path) -> None:
    (repository / "test.csv").write_text("user,item\n4,c\n5,\n")
    with pytest.raises(DataError, match="column 'item', row 2 of test: the value is missing"):
        number_tables(load(path=str(repository)))


def test_what_names_rows_does_not_hold_the_table(repository: Path) -> None:
    (repository / "train.csv").write_text("user,item\n" + "".join(f"{row},b\n" for row in range(20_000)))
    rows = load(path=str(repository)).rows
    assert rows is not None and rows.name(20_001) == "1 of test" and len(pickle.dumps(rows)) < 1_000


def test_one_split_is_taken_as_it_is(repository: Path) -> None:
    tables = load(path=str(repository), split="test")
    assert tables.interactions.to_list() == [{"user": 4, "item": "c"}]
    assert tables.columns == {}


def test_parts_may_be_mapped_to_splits_of_other_names(repository: Path) -> None:
    tables = load(path=str(repository), split={"train": "validation", "test": "test"})
    assert tables.interactions["split"][:] == ["train", "test"]


def test_items_may_come_from_another_repository(repository: Path, tmp_path_factory: Any) -> None:
    items = tmp_path_factory.mktemp("items")
    (items / "data.csv").write_text("item,title\na,Apple\n")
    tables = load(path=str(repository), items={"path": str(items)})
    assert tables.items is not None and tables.items["title"][:] == ["Apple"]


def test_an_unknown_split_is_refused_with_the_nearest(repository: Path) -> None:
    assert "has no split 'tests'. Did you mean 'test'?" in refusal(path=str(repository), split="tests")


def test_a_folder_without_data_or_with_a_revision_is_refused(repository: Path, tmp_path_factory: Any) -> None:
    assert "refuses it" in refusal(path=str(tmp_path_factory.mktemp("empty")))
    assert "has no revisions" in refusal(path=str(repository), revision="main")


def test_an_unreachable_hub_is_reported_quickly_with_what_works_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timeouts: list[Any] = []

    def unreachable(*_: Any, timeout: float, **__: Any) -> None:
        timeouts.append(timeout)
        raise OSError("Name or service not known")

    def retries_for_minutes(*_: Any, **__: Any) -> None:
        raise AssertionError("load_dataset must not be called if the hub does not answer")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(hub.datasets, "load_dataset", retries_for_minutes)
    message = refusal(path="someone/something")
    assert timeouts == [hub.PATIENCE] and hub.PATIENCE <= 10, "once, with a short timeout"
    assert "could not be reached: Name or service not known" in message
    for hint in ("HF_HUB_OFFLINE=1", "`files` (path=FOLDER)", "`synthetic`", "lorarec[offline]", "`minilm`"):
        assert hint in message


def test_offline_mode_without_a_cached_copy_names_the_variable() -> None:
    message = refusal(path="someone/something")
    assert "not in the local cache" in message and "HF_HUB_OFFLINE is set" in message


def test_a_missing_repository_is_distinguished_from_an_unreachable_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        # Its constructor needs a response of the HTTP library, which depends on the version.
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError, "404")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", missing)
    assert "the hub has no such data set" in refusal(path="someone/something")


def test_a_mistyped_folder_is_no_repository_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "neither an existing folder nor a repository id" in refusal(path="./no/such/folder")


def test_files_are_read_as_by_every_other_source(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("user,title\n0000,None\n0001,NA\n007,null\n")
    assert load(path=str(tmp_path)).interactions.to_list() == [
        {"user": "0000", "title": "None"},
        {"user": "0001", "title": "NA"},
        {"user": "007", "title": "null"},
    ]


def test_compressed_files_are_read_as_by_every_other_source(tmp_path: Path) -> None:
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(b"user,title\n0000,None\n007,NA\n"))
    assert load(path=str(tmp_path)).interactions["title"][:] == ["None", "NA"]


def test_a_json_file_may_have_an_object_per_line(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"user": "007"}\n{"user": 8}\n')
    assert load(path=str(tmp_path)).interactions["user"][:] == ["007", "8"]


def test_several_files_of_a_split_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "train-00000.csv").write_text("user\n7\n")
    (tmp_path / "train-00001.csv").write_text("user\n007\n")
    assert load(path=str(tmp_path)).interactions["user"][:] == ["7", "007"]


def configured(folder: Path, *options: str) -> None:
    lines = ["---", "configs:", "- config_name: default", "  data_files: train.csv", *options, "---"]
    (folder / "README.md").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("option", ["  sep: ';'", "  delimiter: ';'", "  sep: ';'\n  encoding: latin-1"])
def test_separator_and_encoding_of_the_repository_change_no_value(option: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("user;title\n007;NA\n0000;None\n", encoding="latin-1")
    configured(tmp_path, option)
    assert load(path=str(tmp_path)).interactions.to_list() == [
        {"user": "007", "title": "NA"},
        {"user": "0000", "title": "None"},
    ]


def test_other_options_of_csv_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("user,title\n007,NA\n")
    configured(tmp_path, "  skiprows: 1")
    assert "reads files with skiprows, which lorarec does not" in refusal(path=str(tmp_path))


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("sep: '::'", "`sep: '::'` is not one ASCII character"),
        ("sep: ''", "`sep: ''` is not one ASCII character"),
        ("sep: [a, b]", "is not one ASCII character"),
        ("encoding: nonsense", "no text encoding 'nonsense'"),
        ("encoding: [utf-8]", "no text encoding"),
    ],
)
def test_separators_and_encodings_that_are_none_are_refused(option: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("user,title\n007,NA\n")
    configured(tmp_path, f"  {option}")
    assert problem in refusal(path=str(tmp_path))


@pytest.mark.parametrize(("name", "sep", "other"), [("train.csv", "\\t", ","), ("train.tsv", ",", "\\t")])
def test_a_declared_separator_is_not_replaced_by_a_detected_one(
    name: str, sep: str, other: str, tmp_path: Path
) -> None:
    text = f"user{sep}title{other}x\n007{sep}a{other}b\n".replace("\\t", "\t")
    (tmp_path / name).write_text(text)
    (tmp_path / "README.md").write_text(f'---\nconfigs:\n- config_name: a\n  data_files: {name}\n  sep: "{sep}"\n---\n')
    title = f"title{other}x".replace("\\t", "\t")
    assert load(path=str(tmp_path)).interactions.column_names == ["user", title]


def test_a_field_of_json_files_is_refused_since_datasets_reads_it_with_pandas(tmp_path: Path) -> None:
    configured(tmp_path, "  field: data")
    (tmp_path / "README.md").write_text((tmp_path / "README.md").read_text().replace("train.csv", "train.json"))
    (tmp_path / "train.json").write_text('{"data": [{"user": "007"}]}')
    assert "reads files with field, which lorarec does not" in refusal(path=str(tmp_path))


def test_files_in_an_archive_are_read_as_by_every_other_source(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("events.csv", "user,title\n007,NA\n0000,None\n")
    assert load(path=str(tmp_path)).interactions["user"][:] == ["007", "0000"]
    assert load(path=str(tmp_path)).interactions["title"][:] == ["NA", "None"]


def archive(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name.replace("_", "."), content)


@pytest.mark.parametrize("member", ["README_txt", "notes_json_bak", "ids_csv_xz"])
def test_other_files_in_an_archive_are_not_read(member: str, tmp_path: Path) -> None:
    archive(tmp_path / "train.zip", data_CSV="user,title\n007,NA\n", **{member: "hello"})
    assert load(path=str(tmp_path)).interactions.to_list() == [{"user": "007", "title": "NA"}]


@pytest.mark.parametrize("member", ["README_txt", "data_csv_xz", "data_ndjson"])
def test_an_archive_without_a_file_that_is_read_is_refused(member: str, tmp_path: Path) -> None:
    archive(tmp_path / "train.zip", **{member: "hello"})
    assert "train.zip: has no file that lorarec reads" in refusal(path=str(tmp_path))


def test_files_and_archives_are_read_in_the_order_of_their_names_wherever_they_lie(tmp_path: Path) -> None:
    for part in "abcdef":
        archive(tmp_path / f"train-{part}.zip", b_csv=f"user\n{part}1\n", a_csv=f"user\n{part}0\n")
    (tmp_path / "train-c3.csv").write_text("user\nc3\n")
    assert " ".join(load(path=str(tmp_path)).interactions["user"][:]) == "a0 a1 b0 b1 c0 c1 c3 d0 d1 e0 e1 f0 f1"


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(b"PK")
    assert "an archive cannot be unpacked" in refusal(path=str(tmp_path))


@pytest.mark.parametrize("name", ["train.csv.xz", "train.tsv.lz4", "train.json.xz", "train.ndjson", "train.txt"])
def test_files_that_datasets_would_read_with_other_ids_are_refused_by_name(name: str, tmp_path: Path) -> None:
    content = b'{"user": "007"}\n' if "json" in name else b"user,title\n007,NA\n"
    (tmp_path / name).write_bytes(lzma.compress(content) if name.endswith(".xz") else content)
    message = refusal(path=str(tmp_path))
    assert f"{name}: files of this kind are not read" in message and ".csv" in message and "`files`" in message


def test_offline_mode_reads_the_files_that_were_downloaded_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "datasets--someone--something"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "train.csv").write_text("user\n007\n")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert load(path="someone/something").interactions["user"][:] == ["007"]


def test_neither_scripts_nor_pickles_of_a_repository_are_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')"
    script, pickles = tmp_path / "script", tmp_path / "pickles"
    script.mkdir()
    pickles.mkdir()
    (script / "script.py").write_text(code)
    assert "refuses it" in refusal(path=str(script))
    (pickles / "train.pkl").write_bytes(b"cbuiltins\nexec\n(V" + code.encode() + b"\ntR.")
    assert "cannot read it" in refusal(path=str(pickles))
    assert not ran.exists()
