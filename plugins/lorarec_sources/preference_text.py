"""TALLRec's instruction text, read back: what a user liked, what not, and the item in question."""

from __future__ import annotations

import re
from typing import NamedTuple

FORM = re.compile(
    r"User Preference: ?(?P<liked>.*?)\n"
    r"User Unpreference: ?(?P<disliked>.*?)\n"
    r'Whether the user will like the target \w+ "(?P<target>.+)"\?',
    re.DOTALL,
)
NOTHING = ("", "None", "None.")
BETWEEN = '", "'
BY = '" written by '
EXPECTED = (
    'User Preference: "A", "B"; on the next line User Unpreference: "C"; on the next one Whether the '
    "user will like "
    'the target movie "D"?'
)


class Preference(NamedTuple):
    """One example's text, taken apart."""

    liked: list[str]
    disliked: list[str]
    target: str


def parse_preference(text: str) -> Preference | None:
    """The titles in the text, in the order they stand there, or None where it is of another form.

    Two forms are known. Movies: titles in quotes, parted by commas. Books: `"Title" written by Author`,
    parted by commas; the item is then called `Title written by Author`. Quotes and commas inside titles are
    kept. An empty list, or the bare word None, is no items.
    """
    found = FORM.fullmatch(text.strip())
    if found is None:
        return None
    target = found["target"].strip()
    books = target.startswith('"') and BY in target
    liked, disliked = (_titles(found[part].strip(), books) for part in ("liked", "disliked"))
    name = _book(target) if books else target
    if liked is None or disliked is None or not name:
        return None
    return Preference(liked, disliked, name)


def _titles(text: str, books: bool) -> list[str] | None:
    if text in NOTHING:
        return []
    titles = _books(text) if books else _movies(text)
    return titles if titles and all(titles) else None


def _movies(text: str) -> list[str] | None:
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return None
    return [title.strip() for title in text[1:-1].split(BETWEEN)]


def _books(text: str) -> list[str] | None:
    """A comma before a quote parts two books only if the part before it names an author already."""
    if not text.startswith('"'):
        return None
    books: list[str] = []
    open_part = ""
    for part in text.split(', "'):
        open_part = f'{open_part}, "{part}' if open_part else part if not books else f'"{part}'
        if BY in open_part:
            books.append(_book(open_part))
            open_part = ""
    return None if open_part else books


def _book(text: str) -> str:
    title, _, author = text.removeprefix('"').partition(BY)
    return f"{title.strip()} written by {author.strip()}" if title.strip() and author.strip() else ""
