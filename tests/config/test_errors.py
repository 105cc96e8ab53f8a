"""Texts of errors: short, of characters that can be printed, and never without what is wrong."""

from __future__ import annotations

import pytest

from lorarec.errors import LONGEST_LINE, LONGEST_MESSAGE, DataError, printable


@pytest.mark.parametrize("quoted", ["\x01" * 600, "\ud800" * 900, "x" * 10**6, "\t" * 5_000])
def test_what_a_message_quotes_is_cut_and_the_message_is_not(quoted: str) -> None:
    text = str(DataError(f"bad value {quoted} in row 7"))
    assert text.startswith("bad value ") and text.endswith(" in row 7")
    assert len(text) <= LONGEST_LINE and text.isprintable()


def test_of_many_lines_the_first_are_shown_and_the_others_counted() -> None:
    text = printable("\n".join(["one mistake"] * 1_000))
    assert text.startswith("one mistake\n") and "more lines." in text and len(text) <= LONGEST_MESSAGE
