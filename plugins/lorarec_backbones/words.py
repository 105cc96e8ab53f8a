"""Words: a template's fixed pieces as token ids, tokenised once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lorarec.contracts import LorarecError
from lorarec_backbones.item_tokens import tokenise
from lorarec_backbones.templates import USER, Templates, is_user, parse

KEPT = 100_000
"""Users' texts whose tokens are kept at a time."""
LIKED, DISLIKED, SEEN = 1, 0, -1
"""View.liked's values."""


class UserField(NamedTuple):
    """Where a user's column stands in a template."""

    column: int
    """Its number among `Backbone.user_columns`."""
    lead: str
    """The blank before it, which byte-level tokenizers join to the next word."""


Piece = np.ndarray | str | UserField


class UserTokens:
    """Token ids of users' words and texts, made when they are first asked for; a pickle holds the tokenizer alone."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[type[UserTokens], tuple[Any]]:
        return UserTokens, (self._tokenizer,)

    def __call__(self, text: str) -> np.ndarray:
        """[n] int32"""
        if text not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[text] = np.array(tokenise(self._tokenizer, [text])[0] if text.strip() else [], np.int32)
        return self._known[text]


@dataclass(frozen=True)
class Words:
    """Token ids [n] int32 of everything in a view that is not an item."""

    start: np.ndarray
    """Special tokens before a text ([CLS])."""
    end: np.ndarray
    """Special tokens after a text ([SEP])."""
    parts: dict[int, tuple[np.ndarray, np.ndarray]]
    """LIKED, DISLIKED or SEEN -> what stands before and after the items of that part."""
    between_items: np.ndarray
    between_parts: np.ndarray
    history: tuple[Piece, ...]
    """The pieces of a history on its own, in order; "history" stands where it goes."""
    pair: tuple[Piece, ...]
    """A pair's pieces in order; "candidate" and "history" stand where those go."""
    empty: np.ndarray
    user: UserTokens | None = None
    """Token ids of what is known of a user; None where no template names it."""

    def specials(self) -> int:
        """How many special tokens frame a text."""
        return len(self.start) + len(self.end)


def listed_lead(templates: Templates) -> str:
    """The blank that a listed item carries in front: byte-level tokenizers join it to the next word."""
    return " " if templates.between_items.endswith(" ") else ""


def make_words(templates: Templates, tokenizer: Any, causal: bool) -> Words:
    """Tokenise the templates' fixed pieces. Raises LorarecError if the special tokens cannot be found."""
    lead = listed_lead(templates)

    def ids(text: str) -> np.ndarray:
        return np.array(tokenise(tokenizer, [text])[0] if text else [], np.int32)

    def around(template: str) -> tuple[np.ndarray, np.ndarray]:
        (before, _), *rest = parse(template)
        return ids(before.removesuffix(lead)), ids(rest[0][0] if rest else "")

    start, separator, end = _special_tokens(tokenizer)
    if causal or not len(separator):
        separator = ids("\n")
    columns = templates.user_columns()
    return Words(
        start=start,
        end=end,
        parts={
            LIKED: around(templates.liked),
            DISLIKED: around(templates.disliked),
            SEEN: around(templates.seen),
        },
        between_items=ids(templates.between_items.removesuffix(lead)),
        between_parts=ids(templates.between_parts),
        history=_pieces(templates.history, ids, separator, columns),
        pair=_pieces(templates.pair, ids, separator, columns),
        empty=ids(templates.empty),
        user=UserTokens(tokenizer) if columns else None,
    )


def _pieces(
    template: str, ids: Callable[[str], np.ndarray], separator: np.ndarray, columns: Sequence[str]
) -> tuple[Piece, ...]:
    """A template's pieces, its own words as token ids."""
    made: list[Piece] = []
    for literal, field in parse(template):
        if field is not None and is_user(field):
            blank = " " if literal.endswith(" ") else ""
            made += [ids(literal.removesuffix(" ")), UserField(columns.index(field.removeprefix(USER)), blank)]
        else:
            made.append(ids(literal))
            if field is not None:
                made.append(separator if field == "separator" else field)
    return tuple(made)


def _special_tokens(tokenizer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the tokenizer puts before one text, between two, and after; found by looking at what it does."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    single = tokenizer("a")["input_ids"]
    double = tokenizer("a", "a")["input_ids"]
    places = [k for k in range(len(single)) if single[k : k + len(bare)] == bare]
    if not bare or not places:
        raise LorarecError(
            f"backbone: {type(tokenizer).__name__} cannot write the letter 'a', so its special tokens cannot be found."
        )
    start = single[: places[0]]
    end = single[places[0] + len(bare) :]
    between = double[len(start) + len(bare) : len(double) - len(end) - len(bare)]
    return tuple(np.array(part, np.int32) for part in (start, between, end))  # type: ignore[return-value]
