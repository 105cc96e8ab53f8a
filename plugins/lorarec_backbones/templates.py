"""Templates: how an item, a history, and a history with a candidate are written as words."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator

from lorarec.contracts import StrictConfig, View, did_you_mean


def parse(template: str) -> list[tuple[str, str | None]]:
    """A template as (literal, field after it) pairs; the last field may be None."""
    return [(literal, field) for literal, field, _, _ in Formatter().parse(template)]


USER = "user."
"""Prefix of the fields that are columns of the users' table: {user.age}."""


def is_user(field: str) -> bool:
    """Whether the field is a column of the users' table."""
    return field.startswith(USER) and len(field) > len(USER)


class Fields:
    """Checks that a template has all required fields, only known fields, and no format specifications."""

    def __init__(self, *known: str, required: tuple[str, ...] = (), users: bool = False) -> None:
        self.known = known
        self.required = required
        self.users = users

    def __call__(self, template: str) -> str:
        """The template itself, or ValueError saying which field is wrong."""
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"template {template!r} is not well formed: {error}") from None
        fields = [field for _, field, _, _ in parts if field is not None]
        for field in fields:
            if field not in self.known and not (self.users and is_user(field)):
                listed = ", ".join(f"{{{name}}}" for name in self.known) + (", {user.COLUMN}" if self.users else "")
                hint = did_you_mean(field, self.known)
                raise ValueError(f"template {template!r} has an unknown field {{{field}}}.{hint} Fields: {listed}")
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise ValueError(f"template {template!r}: a field takes no format or conversion; write {{{fields[0]}}}")
        for name in self.required:
            if fields.count(name) != 1:
                raise ValueError(f"template {template!r} must have the field {{{name}}} once")
        if not fields:
            listed = " or ".join(f"{{{name}}}" for name in self.known)
            raise ValueError(f"template {template!r} has no field: every item would read the same. Use {listed}")
        return template


ItemTemplate = Annotated[str, AfterValidator(Fields("text", "title"))]
PartTemplate = Annotated[str, AfterValidator(Fields("items", required=("items",)))]
HistoryTemplate = Annotated[str, AfterValidator(Fields("history", required=("history",), users=True))]
PairTemplate = Annotated[
    str, AfterValidator(Fields("candidate", "history", "separator", required=("candidate", "history"), users=True))
]


class Templates(StrictConfig):
    """How views are written as words. Write `{{` and `}}` for braces.

    A view is assembled from pieces that are tokenized separately, once: the words of these templates, and the
    items. A history is written as up to three parts (liked, disliked, and events without feedback), each only
    if it has items, oldest first. Where a view does not fit, the oldest events are left out entirely.
    """

    item: ItemTemplate = "{text}"
    """An item on its own, and as the candidate of a pair: {text}, {title}."""
    listed: ItemTemplate = "{title}"
    """An item within a history: {text}, {title}."""
    liked: PartTemplate = "liked: {items}"
    """The liked events of a history."""
    disliked: PartTemplate = "disliked: {items}"
    """The events that were not liked."""
    seen: PartTemplate = "seen: {items}"
    """The events without feedback."""
    between_items: str = ", "
    """Between two items of a part."""
    between_parts: str = "; "
    """Between two parts of a history."""
    history: HistoryTemplate = "{history}"
    """A history on its own; {user.NAME} is the value of that column of the users' table, empty where it is missing."""
    pair: PairTemplate = "{candidate}{separator}{history}"
    """A history with a candidate. {separator} is the tokenizer's own (such as [SEP]), or a new line where it
    has none; {user.NAME} as above. The candidate is never shortened in favor of the rest. The user's values take at
    most half of the tokens left by it, and are cut at the end."""
    empty: Annotated[str, AfterValidator(str.strip)] = "nothing yet"
    """A history without events, or with no tokens left for one."""

    def user_columns(self) -> tuple[str, ...]:
        """The users' columns that the templates name, in order of appearance."""
        fields = [field for template in (self.history, self.pair) for _, field in parse(template)]
        return tuple(dict.fromkeys(field.removeprefix(USER) for field in fields if field and is_user(field)))

    def unread(self, views: Sequence[View]) -> list[str]:
        """Those that are set though none of these views, which are more than single items, is written by them. One
        recipe may have a template of histories and one of pairs, for whichever of them its head reads."""
        histories, pairs = (any((view.candidate is None) == alone for view in views) for alone in (True, False))
        of_histories = ("listed", "liked", "disliked", "seen", "between_items", "between_parts", "empty")
        works = dict.fromkeys(of_histories, histories or pairs)
        both = bool(views) and len(self.idle({"history": False, "pair": False})) == 2
        return self.idle(works | {"history": histories or both, "pair": pairs or both})
