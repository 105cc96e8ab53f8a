"""Texts of errors: short, of characters that can be printed, and never without what is wrong."""

from __future__ import annotations

import inspect
import pickle

import pytest

import lorarec.contracts  # noqa: F401  (every error of reading data is a subclass now)
from lorarec.errors import LONGEST_LINE, LONGEST_MESSAGE, DataError, LorarecError, printable


@pytest.mark.parametrize("quoted", ["\x01" * 600, "\ud800" * 900, "x" * 10**6, "\t" * 5_000])
def test_what_a_message_quotes_is_cut_and_the_message_is_not(quoted: str) -> None:
    text = str(DataError(f"bad value {quoted} in row 7"))
    assert text.startswith("bad value ") and text.endswith(" in row 7")
    assert len(text) <= LONGEST_LINE and text.isprintable()


def test_of_many_lines_the_first_are_shown_and_the_others_counted() -> None:
    text = printable("\n".join(["one mistake"] * 1_000))
    assert text.startswith("one mistake\n") and "more lines." in text and len(text) <= LONGEST_MESSAGE


class OfAPlugin(DataError):
    """An error with a second argument."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(f"{message} {column}")
        self.column = column


def kinds(kind: type[LorarecError]) -> list[type[LorarecError]]:
    return [kind, *(each for more in kind.__subclasses__() for each in kinds(more))]


@pytest.mark.parametrize("kind", kinds(LorarecError))
def test_every_error_goes_from_process_to_process_with_all_that_it_says(kind: type[LorarecError]) -> None:
    parameters = list(inspect.signature(kind.__init__).parameters)[1:]
    error = kind("what is wrong", *["x" for name in parameters[1:] if name != "kwargs"])
    error.same_in_all_processes = True
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is kind and str(other) == str(error) != "" and vars(other) == vars(error)
