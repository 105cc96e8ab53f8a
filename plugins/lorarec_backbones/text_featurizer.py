"""TextFeaturizer: views as token ids, put together from pieces that were tokenised once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import View
from lorarec_backbones.item_tokens import ItemTokens
from lorarec_backbones.words import DISLIKED, LIKED, SEEN, Piece, UserField, Words

PARTS = (LIKED, DISLIKED, SEEN)
"""The order in which a history's parts are written."""


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
        """How many items of the catalogue are longer than `max_length` and lose their end."""
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
        found = []
        for field in template:
            if isinstance(field, UserField):
                text = view.user[field.column] if view.user else ""
                words = self.words.user(field.lead + text) if self.words.user and text else np.empty(0, np.int32)
                found.append(words[:room])
                room -= len(found[-1])
        return found

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
            for place, item in enumerate(items):
                if place:
                    body.append(self.words.between_items)
                body.append(self.listed[item])
            body.append(after)
        return body
