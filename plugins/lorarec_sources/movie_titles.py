"""MovieLens titles as people say them: "Godfather, The (1972)" is The Godfather, of 1972."""

from __future__ import annotations

import re
from typing import NamedTuple

YEAR = re.compile(r"^(?P<name>.*?)\s*\((?P<year>\d{4})(?:[-\u2013]\d{0,4})?\)\s*(?:\(V\))?$", re.DOTALL)
"""The year at the end; "(V)", for video, may follow it. Of a range, as series have it, the first year
counts."""

ARTICLES = "The|A|An|La|Le|Les|L'|Il|Lo|El|Los|Las|Das|Der|Die|Den|Det|Un|Une|Una"
ARTICLE_LAST = re.compile(rf"(?P<before>^|\()(?P<rest>[^()]+?), (?P<article>{ARTICLES})(?=\s*(?:\(|\)|$))")
"""An article after a comma, at the end of the title or of a bracket in it."""


class Spoken(NamedTuple):
    """A title taken apart."""

    name: str
    """Without the year, articles in front."""
    year: int | None
    """None where the title names none."""


def spoken(title: str) -> Spoken:
    """Name and year of a title as MovieLens writes it: year last, and articles after a comma."""
    title = title.strip()
    found = YEAR.match(title)
    name, year = (found["name"], int(found["year"])) if found else (title, None)
    return Spoken(ARTICLE_LAST.sub(_article_first, name), year)


def _article_first(found: re.Match[str]) -> str:
    space = "" if found["article"].endswith("'") else " "
    return f"{found['before']}{found['article']}{space}{found['rest']}"
