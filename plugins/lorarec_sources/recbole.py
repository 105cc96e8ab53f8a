"""`recbole`: RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from lorarec.contracts import DataError, DataSource, RawTables, StrictConfig, did_you_mean, hookimpl, read_table
from lorarec_sources.paths import contents, existing_folder

COLUMNS = {
    "user": "user_id",
    "item": "item_id",
    "rating": "rating",
    "time": "timestamp",
    "click": "label",
    "history": "item_id_list",
}
TITLES = ("title", "movie_title", "name", "item_name")
YEARS = ("release_year", "year")
GENRES = ("genre", "genres", "class", "category", "categories")
TYPES = {
    "token": pa.string(),
    "token_seq": pa.string(),
    "float": pa.float64(),
    "float_seq": pa.list_(pa.float64()),
}


class RecBoleSource(DataSource):
    """Reads a folder of atomic files: NAME.inter, and optionally NAME.item and NAME.user.

    Tab-separated UTF-8 with a header of `name:type`. A `token` is a string, a `float` a number, a `float_seq`
    a list of numbers. A `token_seq` is kept as text ("Toy Story": RecBole uses the type both for titles and for
    sets of tags), but one called item_id_list is a list, the row's history. Empty numbers are null.

    Zhao et al. RecBole: Towards a Unified, Comprehensive and Efficient Framework for Recommendation
    Algorithms. CIKM 2021.
    """

    name = "recbole"
    summary = "RecBole's atomic files: NAME.inter, NAME.item, NAME.user"
    paper = "Zhao et al., CIKM 2021, https://arxiv.org/abs/2011.01731"

    class Config(StrictConfig):
        """Where the files are."""

        path: str
        """The folder."""

    config: Config

    def load(self) -> RawTables:
        """The tables. Raises DataError naming file, line and field."""
        folder = existing_folder(self.config.path)
        inter = _only(folder, ".inter")
        if inter is None:
            raise DataError(f"{folder}: there is no file called NAME.inter. {contents(folder)}")
        paths = {suffix: _only(folder, suffix) for suffix in (".item", ".user")}
        interactions = read_atomic(inter)
        items, users = (None if path is None else read_atomic(path) for path in paths.values())
        return RawTables(
            interactions=interactions,
            items=items,
            users=users,
            columns={ours: theirs for ours, theirs in COLUMNS.items() if theirs in interactions.column_names},
            item_text=None if items is None else _template(items.column_names),
            origin=", ".join(str(path) for path in (inter, *paths.values()) if path is not None),
        )


def read_atomic(path: Path) -> Dataset:
    """One atomic file. Raises DataError naming the file, the line and the field."""
    words = read_table(path, format="tsv", text=True)
    types = _header(path, words.column_names)
    columns = [
        _column(path, field, words.data.column(index)) for index, field in enumerate(pa.schema(list(types.items())))
    ]
    return Dataset(pa.table(dict(zip(types, columns, strict=True))))


def _header(path: Path, fields: list[str]) -> dict[str, pa.DataType]:
    types: dict[str, pa.DataType] = {}
    for field in fields:
        name, _, kind = field.partition(":")
        if not name or kind not in TYPES:
            raise DataError(
                f"{path}, line 1: the field {field!r} is not name:type.{did_you_mean(kind, TYPES)} "
                f"Types: {', '.join(TYPES)}, as in user_id:token."
            )
        if name in types:
            raise DataError(f"{path}, line 1: the field {name!r} occurs twice.")
        is_history = name == COLUMNS["history"] and kind == "token_seq"
        types[name] = pa.list_(pa.string()) if is_history else TYPES[kind]
    return types


def _column(path: Path, field: pa.Field, words: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if field.type == pa.string():
        return words.combine_chunks()
    if field.type == pa.list_(pa.string()):
        return pa.array([word.split() for word in words.to_pylist()], field.type)
    if field.type == pa.float64():
        try:
            return pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words).cast(pa.float64())
        except pa.ArrowInvalid:
            pass  # one of them is not a number: the loop below reports it
    numbers = []
    for row, word in enumerate(words.to_pylist()):
        try:
            parts = [float(part) for part in word.split()]
        except ValueError as error:
            raise _not_a_number(path, row, field.name, word) from error
        if field.type == pa.float64() and len(parts) > 1:
            raise _not_a_number(path, row, field.name, word)
        numbers.append(parts if field.type != pa.float64() else parts[0] if parts else None)
    return pa.array(numbers, field.type)


def _not_a_number(path: Path, row: int, name: str, word: str) -> DataError:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = [number for number, line in enumerate(file, start=1) if line.strip("\r\n")]
    return DataError(f"{path}, line {lines[row + 1]}: field {name!r} is {word!r}, not a number.")


def _only(folder: Path, suffix: str) -> Path | None:
    matches = sorted(path for path in folder.iterdir() if path.suffix == suffix)
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches)
        raise DataError(f"{folder}: several {suffix} files: {names}. Leave one data set in the folder.")
    return matches[0] if matches else None


def _template(names: list[str]) -> str | None:
    """The title, with year and genres if there are columns with a usual name; None, the default, without a title."""
    title, year, genres = (next((name for name in usual if name in names), None) for usual in (TITLES, YEARS, GENRES))
    if title is None:
        return None
    return f"{{{title}}}" + (f" ({{{year}}})" if year else "") + (f". {{{genres}}}" if genres else "")


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [RecBoleSource]
