"""TextFeaturizer: views as token ids, put together from pieces that were tokenized once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import LorarecError, View
from lorarec_backbones.item_tokens import ItemTokens, tokenise
from lorarec_backbones.templates import USER, Templates, is_user, parse

KEPT = 100_000
"""Users' texts whose tokens are kept at a time."""
LIKED, DISLIKED, SEEN = 1, 0, -1
"""View.liked's values."""
PARTS = (LIKED, DISLIKED, SEEN)
"""The order in which a history's parts are written."""


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


@dataclass(frozen=True)
class TextFeaturizer:
    """Makes `input_ids` and `attention_mask` [B, L] int64, right-padded to the longest view of the call.

    An item longer than `max_length` is cut at its end. Of a history, the latest events that fit are kept,
    whole; only if not even the latest one fits is it cut. A candidate is cut only if it would not fit alone.
    """

    items: ItemTokens
    """Items on their own and as candidates."""
    listed: ItemTokens
    """Items within a history."""
    words: Words
    max_length: int
    pad: int

    @cached_property
    def cut_items(self) -> int:
        """How many items of the catalog are longer than `max_length` and lose their end."""
        return int((self.items.lengths() > self.max_length - self.words.specials()).sum())

    def remarks(self) -> list[str]:
        """How many items are cut, if any."""
        if not self.cut_items:
            return []
        return [f"{self.cut_items:,} items are longer than {self.max_length} tokens and lose their end"]

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Features of B views."""
        pieces = [self._pieces(view) for view in views]
        lengths_B = np.fromiter((sum(map(len, parts)) for parts in pieces), np.int64, len(pieces))
        mask_BL = np.arange(lengths_B.max()) < lengths_B[:, None]
        ids_BL = np.full(mask_BL.shape, self.pad, np.int64)
        ids_BL[mask_BL] = np.concatenate([piece for parts in pieces for piece in parts])
        return {
            "input_ids": torch.from_numpy(ids_BL),
            "attention_mask": torch.from_numpy(mask_BL.astype(np.int64)),
        }

    def length(self, view: View) -> int:
        """How many tokens a view takes, special ones included."""
        return sum(map(len, self._pieces(view)))

    def _pieces(self, view: View) -> list[np.ndarray]:
        room = self.max_length - self.words.specials()
        if view.candidate is not None and view.is_item:
            body = [self.items[view.candidate][:room]]
        else:
            body = self._filled(self.words.history if view.candidate is None else self.words.pair, view, room)
        return [self.words.start, *body, self.words.end]

    def _filled(self, template: tuple[Piece, ...], view: View, room: int) -> list[np.ndarray]:
        """A template's pieces, first the candidate in full, then the user's words up to half of what is left, and the
        history in the rest."""
        room -= sum(len(piece) for piece in template if isinstance(piece, np.ndarray))
        item = np.empty(0, np.int32) if view.candidate is None else self.items[view.candidate][: max(room, 1)]
        room -= len(item)
        user = self._user(template, view, max(room, 0) // 2)
        history = self._history(view, room - sum(map(len, user)))
        body: list[np.ndarray] = []
        words = iter(user)
        for piece in template:
            if isinstance(piece, np.ndarray):
                body.append(piece)
            elif isinstance(piece, UserField):
                body.append(next(words))
            else:
                body.extend([item] if piece == "candidate" else history)
        return body

    def _user(self, template: tuple[Piece, ...], view: View, room: int) -> list[np.ndarray]:
        """Token ids for each of the template's user fields; nothing where nothing is known."""
        pieces: list[np.ndarray] = []
        for field in template:
            if isinstance(field, UserField):
                text = view.user[field.column] if view.user else ""
                words = self.words.user(field.lead + text) if self.words.user and text else np.empty(0, np.int32)
                pieces.append(words[:room])
                room -= len(pieces[-1])
        return pieces

    def _history(self, view: View, room: int) -> list[np.ndarray]:
        """The latest events that fit into `room` tokens, part by part."""
        if not view.history or room <= 0:
            return [self.words.empty[: max(room, 0)]]
        latest = max(room, 1)  # an event takes at least one token: no need to look at more
        rows = np.array(view.history[-latest:], np.int64)
        feedback = np.array(view.liked[-latest:], np.int64) if view.liked else np.full(len(rows), SEEN)
        between = len(self.words.between_items)
        present = [part for part in PARTS if (feedback == part).any()]
        # Counted as if every part stayed, so that a part which drops out can only leave room.
        extra = sum(max(self._frame(part) + len(self.words.between_parts) - between, 0) for part in present)
        costs = np.cumsum((self.listed.lengths(rows) + between)[::-1])
        kept = int(np.searchsorted(costs, room - extra, side="right"))
        if kept == 0:
            return self._latest_cut(int(rows[-1]), int(feedback[-1]), room)
        return self._parts(rows[-kept:], feedback[-kept:])

    def _frame(self, part: int) -> int:
        before, after = self.words.parts[part]
        return len(before) + len(after)

    def _latest_cut(self, row: int, part: int, room: int) -> list[np.ndarray]:
        before, after = self.words.parts[part]
        left = room - self._frame(part)
        return [before, self.listed[row][:left], after] if left > 0 else [self.words.empty[:room]]

    def _parts(self, rows: np.ndarray, feedback: np.ndarray) -> list[np.ndarray]:
        body: list[np.ndarray] = []
        for part in PARTS:
            items = rows[feedback == part].tolist()
            if not items:
                continue
            before, after = self.words.parts[part]
            if body:
                body.append(self.words.between_parts)
            body.append(before)
            for number, item in enumerate(items):
                if number:
                    body.append(self.words.between_items)
                body.append(self.listed[item])
            body.append(after)
        return body


def listed_lead(templates: Templates) -> str:
    """The blank that a listed item carries in front: byte-level tokenizers join it to the next word."""
    return " " if templates.between_items.endswith(" ") else ""


def make_words(templates: Templates, tokenizer: Any, causal: bool) -> Words:
    """Tokenize the templates' fixed pieces. Raises LorarecError if the special tokens cannot be found."""
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
    """What the tokenizer puts before one text, between two, and after; seen by looking at what it does."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    single = tokenizer("a")["input_ids"]
    double = tokenizer("a", "a")["input_ids"]
    matches = [k for k in range(len(single)) if single[k : k + len(bare)] == bare]
    if not bare or not matches:
        raise LorarecError(
            f"backbone: {type(tokenizer).__name__} cannot write the letter 'a', so its special tokens cannot be found."
        )
    start = single[: matches[0]]
    end = single[matches[0] + len(bare) :]
    between = double[len(start) + len(bare) : len(double) - len(end) - len(bare)]
    return tuple(np.array(part, np.int32) for part in (start, between, end))  # type: ignore[return-value]
