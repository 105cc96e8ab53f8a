"""TextFeaturizer: views as token ids, assembled from pieces that were tokenized once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import normalizers
from torch import Tensor

from lorarec.contracts import LorarecError, View
from lorarec_backbones.item_tokens import ItemTokens, tokenize
from lorarec_backbones.templates import USER, Templates, is_user, parse

KEPT = 100_000
"""Largest number of users' texts whose tokens are cached."""
LIKED, DISLIKED, SEEN = 1, 0, -1
"""Values of View.liked."""
PARTS = (LIKED, DISLIKED, SEEN)
"""The order in which a history's parts are written."""


class UserField(NamedTuple):
    """A user's column in a template."""

    column: int
    """Its index in `Backbone.user_columns`."""
    lead: str
    """The blank before it, which byte-level tokenizers join to the next word."""


Piece = np.ndarray | str | UserField


class UserTokens:
    """Token ids of users' words and texts, computed at first use and cached; a pickle has only the tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[type[UserTokens], tuple[Any]]:
        return UserTokens, (self._tokenizer,)

    def __call__(self, text: str) -> np.ndarray:
        """[n] int32 token ids of `text`."""
        if text not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[text] = np.array(tokenize(self._tokenizer, [text])[0] if text.strip() else [], np.int32)
        return self._known[text]


@dataclass(frozen=True)
class Words:
    """Token ids [n] int32 of everything in a view that is not an item."""

    start: np.ndarray
    """Special tokens before a text ([CLS])."""
    end: np.ndarray
    """Special tokens after a text ([SEP])."""
    parts: dict[int, tuple[np.ndarray, np.ndarray]]
    """LIKED, DISLIKED or SEEN -> the tokens before and after the items of that part."""
    between_items: np.ndarray
    between_parts: np.ndarray
    history: tuple[Piece, ...]
    """The pieces of a history on its own, in order; "history" marks where its events go."""
    pair: tuple[Piece, ...]
    """A pair's pieces in order; "candidate" and "history" mark where those go."""
    empty: np.ndarray
    user: UserTokens | None = None
    """Token ids of users' columns; None where no template names one."""

    def specials(self) -> int:
        """Number of special tokens around a text."""
        return len(self.start) + len(self.end)


@dataclass(frozen=True)
class TextFeaturizer:
    """Makes `input_ids` and `attention_mask` [B, L] int64, right-padded to the longest view of the call.

    An item longer than `max_length` is cut at its end. The latest events of a history that fit are kept entirely;
    if not even the latest one fits, it is cut. A candidate is cut only if it would not fit alone.
    """

    items: ItemTokens
    """Items on their own and as candidates."""
    listed: ItemTokens
    """Items within a history."""
    words: Words
    max_length: int
    pad: int
    said: tuple[str, ...] = ()
    """Notes of the backbone."""

    @cached_property
    def cut_items(self) -> int:
        """Number of catalog items that are longer than `max_length` and lose their end."""
        return int((self.items.lengths() > self.max_length - self.words.specials()).sum())

    def notes(self) -> list[str]:
        """On how many items are cut, if any, and those of the backbone."""
        cut = f"{self.cut_items:,} items are longer than {self.max_length} tokens and lose their end"
        return [*([cut] if self.cut_items else []), *self.said]

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
        """Number of tokens a view takes, special tokens included."""
        return sum(map(len, self._pieces(view)))

    def _pieces(self, view: View) -> list[np.ndarray]:
        budget = self.max_length - self.words.specials()
        if view.candidate is not None and view.is_item:
            body = [self.items[view.candidate][:budget]]
        else:
            body = self._filled(self.words.history if view.candidate is None else self.words.pair, view, budget)
        return [self.words.start, *body, self.words.end]

    def _filled(self, template: tuple[Piece, ...], view: View, budget: int) -> list[np.ndarray]:
        """A template's pieces in at most `budget` tokens: the candidate in full, the user's words in up to half of
        what is left, and the history in the rest."""
        budget -= sum(len(piece) for piece in template if isinstance(piece, np.ndarray))
        item = np.empty(0, np.int32) if view.candidate is None else self.items[view.candidate][: max(budget, 1)]
        budget -= len(item)
        user = self._user(template, view, max(budget, 0) // 2)
        history = self._history(view, budget - sum(map(len, user)))
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

    def _user(self, template: tuple[Piece, ...], view: View, budget: int) -> list[np.ndarray]:
        """Token ids for each of the template's user fields; empty where the value is missing."""
        pieces: list[np.ndarray] = []
        for field in template:
            if isinstance(field, UserField):
                text = view.user[field.column] if view.user else ""
                words = self.words.user(field.lead + text) if self.words.user and text else np.empty(0, np.int32)
                pieces.append(words[:budget])
                budget -= len(pieces[-1])
        return pieces

    def _history(self, view: View, budget: int) -> list[np.ndarray]:
        """The latest events that fit into `budget` tokens, part by part."""
        if not view.history or budget <= 0:
            return [self.words.empty[: max(budget, 0)]]
        latest = max(budget, 1)  # an event takes at least one token: no need to look at more
        rows = np.array(view.history[-latest:], np.int64)
        feedback = np.array(view.liked[-latest:], np.int64) if view.liked else np.full(len(rows), SEEN)
        between = len(self.words.between_items)
        present = [part for part in PARTS if (feedback == part).any()]
        # An upper bound: all parts are counted, also those that then drop out.
        extra = sum(max(self._frame(part) + len(self.words.between_parts) - between, 0) for part in present)
        costs = np.cumsum((self.listed.lengths(rows) + between)[::-1])
        kept = int(np.searchsorted(costs, budget - extra, side="right"))
        if kept == 0:
            return self._latest_cut(int(rows[-1]), int(feedback[-1]), budget)
        return self._parts(rows[-kept:], feedback[-kept:])

    def _frame(self, part: int) -> int:
        before, after = self.words.parts[part]
        return len(before) + len(after)

    def _latest_cut(self, row: int, part: int, budget: int) -> list[np.ndarray]:
        before, after = self.words.parts[part]
        left = budget - self._frame(part)
        return [before, self.listed[row][:left], after] if left > 0 else [self.words.empty[:budget]]

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
    """The blank in front of a listed item: byte-level tokenizers join it to the next word."""
    return " " if templates.between_items.endswith(" ") else ""


def lowercasing(tokenizer: Any) -> Any:
    """The tokenizer, changed to lowercase texts first. Raises LorarecError if it is not a fast one."""
    if not tokenizer.is_fast:
        raise LorarecError(
            f"backbone.checkpoint: do_lower_case of sentence_bert_config.json, but {type(tokenizer).__name__} cannot "
            "lowercase. Save the checkpoint with a fast tokenizer."
        )
    own = tokenizer.backend_tokenizer.normalizer
    if own is None or b'"Lowercase"' not in own.__getstate__():  # not in the vocabulary
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Lowercase(), *([] if own is None else [own])]
        )
    return tokenizer


def make_words(templates: Templates, tokenizer: Any, causal: bool, prompt: str = "") -> Words:
    """Tokenize the templates' fixed pieces, and the prompt. Raises LorarecError if the special tokens cannot be
    determined."""
    lead = listed_lead(templates)

    def ids(text: str) -> np.ndarray:
        return np.array(tokenize(tokenizer, [text])[0] if text else [], np.int32)

    def around(template: str) -> tuple[np.ndarray, np.ndarray]:
        (before, _), *rest = parse(template)
        return ids(before.removesuffix(lead)), ids(rest[0][0] if rest else "")

    start, separator, end = _special_tokens(tokenizer)
    start = np.concatenate([start, ids(prompt.removesuffix(" "))])
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
    """A template's pieces, with its literal words as token ids."""
    pieces: list[Piece] = []
    for literal, field in parse(template):
        if field is not None and is_user(field):
            blank = " " if literal.endswith(" ") else ""
            pieces += [ids(literal.removesuffix(" ")), UserField(columns.index(field.removeprefix(USER)), blank)]
        else:
            pieces.append(ids(literal))
            if field is not None:
                pieces.append(separator if field == "separator" else field)
    return tuple(pieces)


def _special_tokens(tokenizer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The special tokens before one text, between two, and after, read off what the tokenizer adds to a sample."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    single = tokenizer("a")["input_ids"]
    double = tokenizer("a", "a")["input_ids"]
    matches = [k for k in range(len(single)) if single[k : k + len(bare)] == bare]
    if not bare or not matches:
        raise LorarecError(
            f"backbone: {type(tokenizer).__name__} cannot write the letter 'a', so its special tokens are unknown."
        )
    start = single[: matches[0]]
    end = single[matches[0] + len(bare) :]
    between = double[len(start) + len(bare) : len(double) - len(end) - len(bare)]
    return tuple(np.array(part, np.int32) for part in (start, between, end))  # type: ignore[return-value]
