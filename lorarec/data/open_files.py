"""Files as UTF-8: format, compression and encoding are known here, and nowhere else."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from lorarec.errors import DataError

Format = Literal["csv", "tsv", "json", "jsonl", "parquet"]
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
PLAIN = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
SUFFIXES = (*PLAIN, *(plain + packed for plain in PLAIN[:-1] for packed in COMPRESSIONS))
"""Of the files that are read; all but parquet may be compressed."""
UTF8 = "utf-8-sig"
"""UTF-8, with a byte order mark or without."""
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: UTF8,
}
"""Byte order marks; those of UTF-32 begin like those of UTF-16."""
OTHERS = {
    b"\x1f\x8b": "compressed by gzip: call it .csv.gz (or .tsv.gz, .json.gz, .jsonl.gz)",
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or export a sheet as csv",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: export a sheet as csv",
}
"""First bytes of files that are often misnamed."""
OTHER_ENCODINGS = {"cp1252": "Western European Windows", "cp1250": "Central European Windows", "shift_jis": "Japanese"}
"""Encodings that are suggested where a line has one of them."""
LATIN1 = "iso8859-1"
SINGLE_BYTE = (LATIN1, "iso8859-15", "cp1252", "cp1250")
"""Python's names of encodings by which nearly every file can be read, UTF-8 too."""
CONTROLS = bytes(range(0x80, 0xA0))
"""Control characters of latin-1, which no table has: in cp1252 they are the euro, quotes and dashes."""
BLOCK = 1 << 24
"""Bytes read at a time, and of the longest line."""

MOST_COLUMNS = 10_000
"""Columns of a table."""


@dataclass(frozen=True)
class ReadOptions:
    """How files are read where that is not detected; each is None by default."""

    sep: str | None = None
    """Character between the fields of csv and tsv files; one of comma, semicolon, tab and `|` is detected."""
    encoding: str | None = None
    """Python's name of a text encoding, such as cp1252; UTF-8 by default, or UTF-16 by its byte order mark."""
    header: tuple[str, ...] | None = None
    """Names of the columns of csv and tsv files without a header line."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of the numbers of csv and tsv files; detected column by column where all rows agree."""
    on_bad_lines: Literal["error", "skip"] | None = None
    """Rows of csv and tsv files with too many or too few fields: refused by line (error, the default), or left out."""


DETECT = ReadOptions()


def format_of(path: Path, given: Format | None = None) -> Format:
    """The format by the suffix, unless given. Raises DataError for a missing file, a folder or another suffix."""
    if path.is_dir():
        raise DataError(f"{path} is a folder, but a file is expected.")
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    if given is not None:
        return given
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        hint = " Parquet files are compressed inside." if ".parquet." in name else ""
        hint += " Rename a text file with columns to .csv or .tsv." if name.endswith((".txt", ".dat")) else ""
        raise DataError(
            f"{path}: files of this kind are not read.{hint} Use one of: {', '.join(PLAIN)}; csv, tsv, json and jsonl "
            f"also with {', '.join(COMPRESSIONS)}."
        )
    return next(plain for plain in PLAIN if plain in Path(name).suffixes[-2:])[1:]  # type: ignore[return-value]


def encoding_of(path: Path, options: ReadOptions) -> str:
    """The encoding of a text file: as set, or by its byte order mark, or UTF-8.

    Raises DataError where the setting contradicts the mark, and for files that are no text.
    """
    with read_errors(path), open_bytes(path) as file:
        start = file.read(4)
    mark = _mark(start)
    if options.encoding is not None:
        given = known_encoding(options.encoding)
        if mark is not None and given.replace("_", "-").removesuffix("-sig") != mark.removesuffix("-sig"):
            raise DataError(
                f"{path}: `encoding: {options.encoding}` is set, but the file begins with the byte order mark of "
                f"{mark.removesuffix('-sig').upper()}. Leave `encoding` out."
            )
        return UTF8 if given in ("utf-8", UTF8) else given
    if what := next((what for magic, what in OTHERS.items() if start.startswith(magic)), None):
        raise DataError(f"{path}: this is {what}.")
    return mark or UTF8


def _mark(start: bytes) -> str | None:
    return next((encoding for mark, encoding in MARKS.items() if start.startswith(mark)), None)


def has_mark(path: Path) -> bool:
    """Whether a file begins with a byte order mark."""
    with read_errors(path), open_bytes(path) as file:
        return _mark(file.read(4)) is not None


def is_utf8(path: Path) -> bool:
    """Whether all bytes of a file are UTF-8."""
    return _characters(path).utf8


class _Characters(NamedTuple):
    """What the bytes of a file show of its encoding."""

    utf8: bool
    ascii: bool
    controls: bytes
    """Those of CONTROLS that it has, if any."""


def _characters(path: Path) -> _Characters:
    decoder = codecs.getincrementaldecoder("utf-8")()
    utf8, only_ascii, controls = True, True, b""
    with read_errors(path), open_bytes(path) as file:
        while block := file.read(BLOCK):
            only_ascii = only_ascii and block.isascii()
            controls = controls or bytes(byte for byte in CONTROLS if byte in block)
            try:
                utf8 = utf8 and decoder.decode(block) is not None
            except UnicodeDecodeError:
                utf8 = False
    return _Characters(utf8 and not decoder.getstate()[0], only_ascii, controls)


def known_encoding(name: str) -> str:
    """Python's own name of a text encoding. Raises ValueError for one that it does not know."""
    try:
        b"".decode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"Python knows no text encoding '{name}'. Common ones: utf-8, latin-1, cp1252, utf-16"
        ) from error


def open_bytes(path: Path) -> pa.NativeFile:
    """The file's bytes, decompressed while they are read."""
    return pa.input_stream(str(path), compression=COMPRESSIONS.get(path.suffix.lower()))


def open_utf8(path: Path, encoding: str) -> pa.NativeFile:
    """The file's text as bytes of UTF-8 (which may begin with its byte order mark)."""
    stream = open_bytes(path)
    return stream if encoding == UTF8 else pa.transcoding_input_stream(stream, encoding, "utf-8")


def open_text(
    path: Path, encoding: str = UTF8, newline: str | None = None, errors: str | None = None
) -> io.TextIOWrapper:
    """The file's text; `newline` and `errors` as in Python's `open`."""
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline=newline, errors=errors)


@contextmanager
def read_errors(path: Path, encoding: str = UTF8) -> Iterator[None]:
    """Errors of reading the file become DataErrors: bytes of another encoding, and damaged compression."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise_undecodable(path, encoding)
        raise DataError(f"{path}: not {encoding}: {error}. Set `encoding` to that of the file.") from error
    except OSError as error:
        packed = COMPRESSIONS.get(path.suffix.lower())
        what = f"not a whole {packed} file" if packed else "cannot be read"
        raise DataError(f"{path}: {what}: {error}. It may be damaged; copy it again.") from error


def raise_undecodable(path: Path, encoding: str = UTF8) -> None:
    """Raise DataError naming the line whose bytes are not of the encoding, if there is one.

    Lines are those of encodings in which a line end is one byte; files of UTF-16 have none.
    """
    if encoding.startswith(("utf-16", "utf-32")):
        return
    with open_bytes(path) as file:
        ends, rest = 0, b""
        while block := file.read(BLOCK):
            *whole, rest = (rest + block).splitlines(keepends=True)
            for line in whole:
                ends += 1
                _refuse_undecodable(path, ends, line, encoding)
        _refuse_undecodable(path, ends + 1, rest, encoding)


def _refuse_undecodable(path: Path, number: int, line: bytes, encoding: str) -> None:
    try:
        line.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == UTF8 else encoding
        others = [(other, what) for other, what in OTHER_ENCODINGS.items() if _decoded(line, other)]
        likely = ", ".join(
            f"`encoding: {other}` ({what}) reads {_near(line, error.start, other)}" for other, what in others
        )
        setting = f"`interactions: {{path: {path.name}, encoding: {others[0][0] if others else 'NAME'}}}`"
        raise DataError(
            f"{path}, line {number}: byte 0x{line[error.start]:02x} at position {error.start + 1} is not {name}. "
            f"Save the file as UTF-8, or set its encoding where the recipe names it, as in {setting}"
            f"{f': {likely}' if likely else ''}."
        ) from error


def _decoded(line: bytes, encoding: str) -> str:
    """The line in an encoding; empty where it is not of it."""
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return ""


def _near(line: bytes, position: int, encoding: str) -> str:
    """The word around a byte, for messages."""
    start = max(line.rfind(separator, 0, position) for separator in (b" ", b",", b";", b"\t", b"|", b'"')) + 1
    return repr(line[start : position + 10].decode(encoding, errors="ignore").strip()[-25:])


def encoding_notes(path: Path, options: ReadOptions) -> tuple[str, ...]:
    """What is odd about the characters of a file by its set encoding of one byte each, if it is: the file is UTF-8, or
    has characters that latin-1 lacks and cp1252 has."""
    encoding = None if options.encoding is None else known_encoding(options.encoding)
    if encoding not in SINGLE_BYTE:
        return ()
    characters = _characters(path)
    if characters.utf8 and not characters.ascii:
        wrong = "\u00e9".encode().decode(encoding)
        return (
            f"`encoding: {options.encoding}` is set, but the file is UTF-8: \u00e9 is read as {wrong}. Leave it out",
        )
    if encoding == LATIN1 and characters.controls:
        controls = characters.controls
        shown = ", ".join(
            sorted(character for byte in controls if (character := _decoded(bytes([byte]), "cp1252")))[:5]
        )
        return (f"`encoding: {options.encoding}` makes control characters of {shown}: `encoding: cp1252` reads them",)
    return ()


def too_long(path: Path, line: int | None = None) -> DataError:
    """The refusal of a file of which a line is longer than BLOCK."""
    where = "a line is" if line is None else f"line {line} is"
    return DataError(f"{path}: {where} longer than {BLOCK >> 20} MiB. Is it a csv file with line ends?")


def refuse_nul(path: Path, names: Iterable[str]) -> None:
    """Raise DataError for a column name with a NUL character, which Arrow and Datasets cut at it."""
    for name in names:
        if "\0" in name:
            raise DataError(f"{path}: the column {name[:80]!r} has a NUL character in its name. Rename it.")


def table_origin(paths: Sequence[Path]) -> str:
    """The files of a table, for messages."""
    if len(paths) <= 3:
        return ", ".join(map(str, paths))
    return f"{paths[0]}, ..., {paths[-1]} ({len(paths):,} files)"


def other_columns(path: str | Path, names: Sequence[str], first: str | Path, others: Sequence[str]) -> DataError:
    """The error for a file whose columns are not those of the table's first one."""
    have, need = set(names), set(others)  # of up to 10,000 columns
    lacking, more = [n for n in others if n not in have], [n for n in names if n not in need]
    differences = (("lacks", lacking), ("also has", more))
    what = " and ".join(f"{verb} {', '.join(map(repr, odd))[:200]}" for verb, odd in differences if odd)
    return DataError(
        f"{path}: {what}, unlike {first}. The files of a table have the same columns, in any order: add or remove "
        "them, or leave the file out."
    )
