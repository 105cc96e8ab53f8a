"""A small catalogue and small views, for plugins to be tried on."""

from __future__ import annotations

from lorarec.contracts import Catalog, View

ITEMS = 12


def tiny_catalog() -> Catalog:
    """Twelve items with titles and texts."""
    from datasets import Dataset

    titles = [f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("cup", "lamp", "chair", "rug")]
    return Catalog(
        Dataset.from_dict(
            {"item": [f"i{n}" for n in range(ITEMS)], "title": titles, "text": [f"a {t}" for t in titles]}
        )
    )


def tiny_views() -> list[View]:
    """A user, an item, both together, and views of other lengths, so that batches need padding."""
    return [
        View(history=(3, 7, 1)),
        View(candidate=4),
        View(history=(2,), candidate=5),
        View(history=(6, 8), liked=(1, 0), candidate=9),
        View(history=(10, 11, 0, 5)),
        View(candidate=0),
    ]
