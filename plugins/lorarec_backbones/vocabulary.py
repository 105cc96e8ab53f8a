"""Token ids and the rows of an encoder's embedding: an id to pad with, and a check of all ids of words and items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lorarec.contracts import Catalog, DataError, LorarecError
from lorarec_backbones.item_tokens import ItemTokens
from lorarec_backbones.text_featurizer import Words


class Padding(NamedTuple):
    """What texts are padded with. It is masked, so no vector depends on it, but the encoder looks it up."""

    token: int
    note: str
    """A sentence if the checkpoint's own padding is not in the embedding; else empty."""


def padding(tokenizer: Any, config: Any) -> Padding:
    """The first of these that the embedding has: the padding of the tokenizer or configuration, the end, 0."""
    size = config.vocab_size
    own = {f"the tokenizer's padding {tokenizer.pad_token!r}": tokenizer.pad_token_id}
    own["config.json's pad_token_id"] = config.pad_token_id
    wanted = {who: token for who, token in own.items() if token is not None}
    token = next(token for token in (*wanted.values(), tokenizer.eos_token_id, 0) if _is_row(token, size))
    beyond = [f"{who} is {given}" for who, given in wanted.items() if not _is_row(given, size)]
    if not beyond:
        return Padding(token, "")
    return Padding(
        token,
        f"{' and '.join(beyond)}, which the encoder's embedding of {size} tokens does not have: texts are padded with "
        f"token {token} ({tokenizer.convert_ids_to_tokens(token)!r}) instead, which is masked and changes no vector",
    )


def _is_row(token: Any, size: int) -> bool:
    return isinstance(token, int) and 0 <= token < size


class Vocabulary(NamedTuple):
    """A tokenizer and the size of the embedding that its ids are looked up in."""

    tokenizer: Any
    size: int
    checkpoint: str
    """Its name, for messages."""

    def check(self, words: Words, items: dict[str, ItemTokens], catalog: Catalog) -> None:
        """Raises LorarecError if an id of the words or items is not in the embedding, or if a user's text may have one;
        DataError for an item without words. `items`: the catalog's tokens by template."""
        for template, tokens in items.items():
            empty = np.flatnonzero(tokens.lengths() == 0)
            if len(empty):
                raise DataError(
                    f"item '{catalog.ids[int(empty[0])]}' has no words in the template '{template}' "
                    f"({len(empty)} such items); give it a text, or change backbone.templates.{template}."
                )
        for what, ids in _named(words):
            self._refuse(what, int(ids.max(initial=-1)))
        self._refuse("a token of the items", max(tokens.largest() for tokens in items.values()))
        if words.user is not None:
            special = set(self.tokenizer.all_special_ids)  # which a text never becomes, even if it spells one
            self._refuse("a token that users' texts may have", max(set(self.tokenizer.get_vocab().values()) - special))

    def _refuse(self, what: str, token: int) -> None:
        if token >= self.size:
            spelled = self.tokenizer.convert_ids_to_tokens(token)
            name = what if spelled is None else f"{what}, {spelled!r},"
            raise LorarecError(
                f"backbone.checkpoint '{self.checkpoint}': {name} has the id {token}, but the encoder's embedding has "
                f"only {self.size} tokens (ids 0 to {self.size - 1}). Tokenizer and weights do not belong together: "
                "copy both from one model, or save the model after resize_token_embeddings."
            )


def _named(words: Words) -> Iterator[tuple[str, np.ndarray]]:
    """The pieces of a view that are not items, with their names."""
    yield "the start token", words.start
    yield "the end token", words.end
    pieces = [
        words.between_items,
        words.between_parts,
        words.empty,
        *(w for part in words.parts.values() for w in part),
    ]
    pieces += [piece for piece in (*words.history, *words.pair) if isinstance(piece, np.ndarray)]
    for piece in pieces:
        yield "a separator or a token of backbone.templates", piece
