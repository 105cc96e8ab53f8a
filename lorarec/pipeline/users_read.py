"""Whether what a template names of the users is read by anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lorarec.contracts import Backbone, Examples, Featurizer, View
from lorarec.errors import RecipeError

WORDS = ("young", "old")
"""Two users who must be written differently."""


class Seen:
    """A featurizer that remembers what it is asked to look at."""

    def __init__(self, featurizer: Featurizer) -> None:
        self.featurizer = featurizer
        self.views: list[View] = []

    def __call__(self, views: Sequence[View]) -> dict[str, Tensor]:
        """The features of the views, which are remembered."""
        self.views += views
        return self.featurizer(views)

    def length(self, view: View) -> int:
        """As the featurizer says."""
        return self.featurizer.length(view)


def refuse_unread_users(backbone: Backbone, examples: Examples) -> None:
    """Raise RecipeError if the backbone reads a column of the users that no view of the head is written with."""
    columns = backbone.user_columns()
    if not columns:
        return
    seen = Seen(examples.collation.featurizer)
    replace(examples, collation=replace(examples.collation, featurizer=seen)).batch(np.zeros(1, np.int64))
    views = [view for view in seen.views if view.user]
    unread = [name for at, name in enumerate(columns) if not any(_differs(seen.featurizer, v, at) for v in views)]
    if not unread:
        return
    named = ", ".join(f"{{user.{name}}}" for name in unread)
    raise RecipeError(
        f"backbone.templates name {named}, but head '{examples.head.name}' with these settings reads no view that is "
        "written with it (perhaps single items alone). Leave it out, or choose a head or setting that reads histories "
        "or pairs as text."
    )


def _differs(featurizer: Featurizer, view: View, column: int) -> bool:
    """Whether the view of a user who differs in this column alone reads otherwise."""
    users = [tuple(word if at == column else "" for at in range(len(view.user))) for word in WORDS]
    one, other = (featurizer([view._replace(user=user)]) for user in users)
    return any(not torch.equal(one[name], other[name]) for name in one)
