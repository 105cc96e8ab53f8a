"""Arguments of `predict` and `recommend` in Python: lists, arrays, Series, data frames, tables, as plain lists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lorarec.config.strict import did_you_mean
from lorarec.data.columns import feedback_lists
from lorarec.data.numbers import LARGEST as LARGEST_NUMBER
from lorarec.data.numbers import click_words, numbers_of_words
from lorarec.data.text_lists import feedback_separator, separator_of, text_lists
from lorarec.errors import DataError

BITS = {"float16": 11, "halffloat": 11, "bfloat16": 8, "float32": 24, "float": 24}
"""Bits of the digits of floats, by the names of numpy, torch, pandas and Arrow."""
DOUBLE = 53
"""Those of other floats."""
LARGEST = 10**300
"""Whole numbers below it are ids; Python does not write those of thousands of digits."""
Columns = Mapping[str, Any]


def columns_of(value: Any) -> Columns | None:
    """The columns of a data frame, Arrow table, Dataset or dict of columns, by name; None for anything else.

    Raises DataError for columns of one name.
    """
    if isinstance(value, Mapping):
        return value
    names = getattr(value, "column_names", None) or getattr(
        value, "columns", None
    )  # of Arrow, datasets; of data frames
    if names is None or isinstance(value, type) or callable(names):
        return None
    names = [str(name) for name in names]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"The table has two columns '{twice[0]}'. Rename one of them.")
    if hasattr(value, "iloc"):  # pandas, whose names may be numbers
        return {name: value.iloc[:, index] for index, name in enumerate(names)}
    return {name: value[name] for name in names}


def plain_list(value: Any, name: str, column: str, ordered: bool = True) -> list[Any]:
    """The values of a list, array, Series, column or generator, or those of `column` of a table.

    Raises DataError, calling the argument `name`, for one text, one number, None, a set if they must be `ordered`, and
    a table without the column.
    """
    if isinstance(value, str | bytes):
        raise DataError(f"{name}: {_shown(value)} is one text, not a list. Give a list: [...].")
    columns = columns_of(value)
    if columns is not None:
        if column not in columns:
            some = ", ".join(map(repr, list(columns)[:5])) or "none"
            meant = did_you_mean(column, map(str, columns))
            raise DataError(
                f"{name}: a table needs a column '{column}', but its columns are: {some}. Rename one.{meant}"
            )
        return plain_list(columns[column], name, column)
    for method in ("to_pylist", "tolist", "to_list"):
        if hasattr(value, method):
            value = getattr(value, method)()
            break
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | type):
        raise DataError(f"{name}: {_shown(value)} is not a list. Give a list: [...].")
    if ordered and isinstance(value, Set):
        raise DataError(f"{name}: a {type(value).__name__} has no order. Give a list: [...].")
    return list(value)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # of any object; also whole numbers of more digits than Python writes
        return f"a {type(value).__name__}"


def is_missing(value: Any) -> bool:
    """None, NaN, and the missing values of pandas."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def id_texts(value: Any, name: str, column: str = "item", ordered: bool = True, exact: int = 1 << DOUBLE) -> list[str]:
    """Ids as text; whole numbers are written in digits. From `exact` on, floats may be other numbers than they were
    written as. Raises DataError naming the row of any other value."""
    values = plain_list(value, name, column, ordered)
    if set(map(type, values)) <= {str}:
        return values
    unit = "item" if ", row " in name else "row"
    columns = columns_of(value)
    exact = min(exact, _exact(value if columns is None else columns[column]))
    return [_id(each, f"{name}, {unit} {number}", exact) for number, each in enumerate(values, start=1)]


def _exact(value: Any) -> int:
    """From which whole number on the floats of a list, array or column, or a float, may be other ones than they were
    written as."""
    kind = getattr(value, "dtype", getattr(value, "type", ""))
    kind = getattr(kind, "pyarrow_dtype", kind)  # of pandas
    while hasattr(kind, "value_type"):  # lists
        kind = kind.value_type
    return 1 << BITS.get(str(kind).lower().removeprefix("torch."), DOUBLE)


def _id(value: Any, where: str, exact: int) -> str:
    if isinstance(value, str):
        return str(value)
    if is_missing(value):
        raise DataError(f"{where}: the id is missing. Leave it out.")
    if isinstance(value, Integral) and not isinstance(value, bool) and -LARGEST < int(value) < LARGEST:
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite() and abs(value) < LARGEST and value == int(value):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        if abs(float(value)) < min(exact, _exact(value)):
            return str(int(float(value)))
        raise DataError(
            f"{where}: digits of the id are lost in the float {_shown(value)}. Give ids as text or integers."
        )
    raise DataError(f"{where}: {_shown(value)} is not an id. Ids are text or whole numbers.")


def histories_of(value: Any, item_ids: Sequence[pa.Array] = ()) -> list[list[str]]:
    """The ids of each history; None and NaN are empty ones. Raises DataError naming the row of another value.

    In a table, a history may be a text as in request files: ids joined by "|" or by a separator that none of `item_ids`
    contains, a list in JSON, or a single number.
    """
    return _histories(value, item_ids)[0]


def _histories(value: Any, item_ids: Sequence[pa.Array]) -> tuple[list[list[str]], str | None]:
    """As `histories_of`, and the separator of those that are text."""
    values, separator, exact = plain_list(value, "histories", "history"), None, _exact(value)
    table = columns_of(value)
    if table is not None:
        texts, exact = _texts(values, "histories"), _exact(table["history"])
        separator = separator_of(texts, item_ids)
        values = _with_texts_read(values, texts, "histories", separator)
    histories = []
    for row, history in enumerate(values, start=1):
        where = f"histories, row {row}"
        if isinstance(history, str):
            raise DataError(
                f"{where}: {_shown(history)} is one text, not a list of ids. Give a list for each user: [['a', 'b'], "
                "['c']]."
            )
        histories.append([] if is_missing(history) else id_texts(_no_table(history, where), where, exact=exact))
    return histories, separator


def feedback_of(
    value: Any, separator: str | None = None, decimal: str | None = None, missing: Sequence[str] = ()
) -> list[list[float]]:
    """The numbers of each history; NaN where one is missing. In a table, they may be written as text as in request
    files; `separator` is that of the histories, `decimal` the decimal mark where it is set, `missing` the words
    for a missing number.

    Raises DataError naming the row of another value.
    """
    values = plain_list(value, "feedback", "history_feedback")
    if columns_of(value) is not None:
        texts = _texts(values, "feedback")
        values = _with_texts_read(values, texts, "feedback", feedback_separator(texts, separator, decimal), decimal)
    lists = []
    for row, numbers in enumerate(values, start=1):
        where = f"feedback, row {row}"
        lists.append([] if is_missing(numbers) else plain_list(_no_table(numbers, where), where, ""))
    _refuse_mixed_clicks(lists, missing)
    words, odd = _words_read(lists, decimal, missing), frozenset(numbers_of_words(missing, pa.float64()))
    return [
        [next(words) if isinstance(each, str) else _number(each, f"feedback, row {row}", odd) for each in numbers]
        for row, numbers in enumerate(lists, start=1)
    ]


def _refuse_mixed_clicks(lists: list[list[Any]], missing: Sequence[str]) -> None:
    """Raise DataError naming the row of a number where another value is a word for a click, as in files."""
    values = [(row, each) for row, numbers in enumerate(lists, start=1) for each in numbers]
    texts = ((row, each) for row, each in values if isinstance(each, str) and each.strip() not in missing)
    says = next(((row, each) for row, each in texts if click_words(each) is not None), None)
    other = next(((row, each) for row, each in values if not (isinstance(each, str) or is_missing(each))), None)
    if says is not None and other is not None:
        raise DataError(
            f"feedback, row {other[0]}: {_shown(other[1])}, but row {says[0]} says {says[1]!r}. Write clicks as one of "
            "1 and 0, yes and no, true and false, in all rows."
        )


def _words_read(lists: list[list[Any]], decimal: str | None, missing: Sequence[str]) -> Iterator[float]:
    """The numbers that are written as text, as they are read in files."""
    words = [[each for each in numbers if isinstance(each, str)] for numbers in lists]
    column = pa.chunked_array([_arrow(words, pa.large_list(pa.large_string()), "feedback")])
    read, _ = feedback_lists(column, np.cumsum([0, *map(len, words)]), "feedback", None, decimal, missing)
    return iter(read.values.to_pylist())


def _number(value: Any, where: str, odd: Set[float]) -> float:
    """A number; NaN for one of the `odd` ones, which stand for a missing value."""
    if is_missing(value):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where}: {_shown(value)} is not a number. Give one number for each item of the history."
        ) from None
    if math.isinf(number):
        raise DataError(f"{where}: an infinite number. Give finite ones, or NaN where there is none.")
    if abs(number) > LARGEST_NUMBER:
        raise DataError(f"{where}: {_shown(value)} is too large to compute with. Give a smaller number.")
    return math.nan if number in odd and not isinstance(value, bool | np.bool_) else number


def _no_table(value: Any, where: str) -> Any:
    if columns_of(value) is not None:
        raise DataError(f"{where}: a {type(value).__name__} is not a list. Give a list for each row.")
    return value


def _texts(values: list[Any], name: str) -> pa.ChunkedArray:
    """[n] the values that are text; others are null."""
    texts = [value if isinstance(value, str) else None for value in values]
    return pa.chunked_array([_arrow(texts, pa.large_string(), name)])


def _arrow(values: list[Any], kind: pa.DataType, name: str) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError as error:
        raise DataError(f"{name}: {error.object!r} has characters that no text has. Correct it.") from error


def _with_texts_read(
    values: list[Any], texts: pa.ChunkedArray, name: str, separator: str | None, decimal: str | None = None
) -> list[Any]:
    """A table's column of lists, in which a list may be written as text, as in request files, or as its only number."""
    lists = text_lists(texts, name, separator, decimal=decimal).to_pylist()
    return [
        one if one is not None else [value] if _is_number(value) else value
        for value, one in zip(values, lists, strict=True)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool) and not is_missing(value)


class Asked(NamedTuple):
    """The arguments of a call in addition to the items to score."""

    histories: list[list[str]] | None
    feedback: list[list[float]] | None
    users: list[Mapping[str, Any] | None] | None


def asked(
    first: Any,
    histories: Any,
    feedback: Any,
    users: Any,
    user_columns: tuple[str, ...],
    item_ids: Sequence[pa.Array] = (),
    decimal: str | None = None,
    missing: Sequence[str] = (),
) -> Asked:
    """The arguments as plain lists; `item_ids` are those of the catalog, `decimal` and `missing` are as in
    `feedback_of`.

    If the call's `first` argument is a table, those that are not given are its columns `history`, `history_feedback`
    and user.NAME, as in request files. Raises DataError for what cannot be read.
    """
    table = columns_of(first)
    if table is not None:
        histories = table if histories is None and "history" in table else histories
        feedback = table if feedback is None and "history_feedback" in table else feedback
        if users is None and any(f"user.{name}" in table for name in user_columns):
            users = {name: column for name, column in table.items() if str(name).startswith("user.")}
    lists, separator = (None, None) if histories is None else _histories(histories, item_ids)
    return Asked(
        lists,
        None if feedback is None else feedback_of(feedback, separator, decimal, missing),
        None if users is None else users_of(users, user_columns),
    )


def users_of(value: Any, names: tuple[str, ...]) -> list[Mapping[str, Any] | None]:
    """The columns of each user, or None; of a table, those in `names`, also as user.NAME. Raises DataError for tables
    that have none of them, and for a run that reads none."""
    if not names:
        raise DataError("users: this run reads no user columns, only histories. Leave it out.")
    columns = columns_of(value)
    if columns is None:
        users = plain_list(value, "users", "")
        return [None if is_missing(user) else user for user in users]
    read = {name: given for name in names for given in (f"user.{name}", name) if given in columns}
    if not read:
        raise DataError(f"users: the table has no column of those that the run reads ({', '.join(names)}). Rename one.")
    if not any(isinstance(columns[given], Iterable) for given in read.values()):
        raise DataError("users: one user, but a list is needed. Give a list with one mapping for each request.")
    lists = {name: plain_list(columns[given], f"users, column '{given}'", "") for name, given in read.items()}
    if len({len(values) for values in lists.values()}) > 1:
        raise DataError("users: the columns have different lengths. Give one value for each request in each of them.")
    rows = zip(*lists.values(), strict=True)
    return [{name: None if is_missing(v) else v for name, v in zip(lists, row, strict=True)} for row in rows]
