"""`synthetic`: a simulated shop whose users choose items by their titles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset
from pydantic import Field, model_validator

from lorarec.contracts import DataSource, RawTables, StrictConfig, hookimpl

THEMES: dict[str, tuple[str, ...]] = {
    "Hiking and camping": (
        "hiking boots", "two-person tent", "sleeping bag", "trekking poles", "camping stove", "headlamp",
        "rucksack", "trail map case",
    ),
    "Baking": (
        "cake tin", "rolling pin", "bread proofing basket", "cookie cutters", "piping bag set",
        "dough scraper", "muffin tray", "kitchen scale",
    ),
    "Cycling": (
        "bicycle helmet", "bike lock", "pannier bag", "cycling jersey", "tyre pump", "bicycle bell",
        "saddle cover", "chain cleaner",
    ),
    "Gardening": (
        "pruning shears", "watering can", "flower pot", "seed tray", "garden hose", "compost bin",
        "planting trowel", "weeding fork",
    ),
    "Music": (
        "guitar strap", "drum sticks", "music stand", "violin bow", "piano bench", "microphone cable",
        "ukulele case", "guitar tuner",
    ),
    "Home office": (
        "desk lamp", "office chair", "laptop stand", "notebook planner", "document tray",
        "keyboard wrist rest", "monitor riser", "pen holder",
    ),
    "Baby and toddler": (
        "baby blanket", "feeding bottle", "teething ring", "nursery night light", "pram cover", "toddler bib",
        "baby bath seat", "stacking toy",
    ),
    "Pets": (
        "dog leash", "cat scratching post", "dog bed", "bird feeder", "aquarium filter", "cat litter box",
        "puppy chew toy", "pet carrier",
    ),
    "Swimming and beach": (
        "swimming goggles", "beach towel", "snorkel mask", "swim fins", "sun shade", "surfboard leash",
        "bathing cap", "inflatable float",
    ),
    "Painting and crafts": (
        "watercolour set", "paint brushes", "sketchbook", "easel", "knitting needles", "sewing kit",
        "embroidery hoop", "modelling clay",
    ),
}  # fmt: skip
"""Departments and their products. The department has the largest effect on a user's preference."""

STYLES: dict[str, str] = {
    "professional": "Made for experts who use it every day.",
    "beginner's": "Easy to use, for those who are just starting.",
    "lightweight": "So light that you can take it anywhere.",
    "heavy-duty": "Strong and tough, it stands rough handling.",
    "vintage": "In the old-fashioned look of grandmother's time.",
    "luxury": "An elegant gift of the finest quality.",
    "eco-friendly": "Recycled and kind to nature.",
    "colourful": "In bright and cheerful colours.",
}
"""Qualities in front of the product, each with its sentence. They have the second largest effect."""

MATERIALS = ("leather", "steel", "bamboo", "wool", "cotton", "plastic", "oak", "rubber")
"""Do not affect preferences: a model has to learn to ignore them."""

BRANDS = (
    "Alderbrook", "Brightwater", "Calloway", "Dunmore", "Everly", "Fernhill", "Grayling", "Hollis",
    "Ironvale", "Juniper & Co", "Kestrel", "Larkfield",
)  # fmt: skip
"""Do not affect preferences either; fictitious."""

START = 1_700_000_000
"""Seconds since 1970 of the shop's first day."""
SPAN = 180 * 24 * 3600
"""Seconds between the first and the last possible event."""
LATE = 0.4
"""Share of the items that appear later; the others are available from the start."""
FOLLOW = 85
"""Percent of the events at which a user stays with the department of the event before."""
BROWSE = 50
"""Percent of the events at which a user picks an item regardless of their preferences."""

# All scores are integers (points), so that rounding cannot differ between machines.
FAVORITES = (70, 55)
DISLIKED_THEME = -50
STYLE_POINTS = 30
QUALITY_POINTS = 20
INTEREST_POINTS = 70
SURPRISE_POINTS = 24
STARS = (-30, 0, 30, 60)
"""Least points for 2, 3, 4 and 5 stars."""
LIKED = 4
"""Least number of stars that counts as a click."""
LARGE = 1_000_000
PRODUCTS = min(len(products) for products in THEMES.values())


class SyntheticSource(DataSource):
    """A simulated shop's events, drawn by a seed, whose signal is in the items' text.

    An item is a quality, a material, a product of one of ten departments, and a brand: "Lightweight leather
    hiking boots by Kestrel". A user likes two departments and some qualities, and these preferences are constant;
    materials and brands have no effect. A user stays with a department for a while, then switches to another
    one, so the next event can be predicted from the last ones. Some items are slightly better than others for all
    users. 40% of the items appear later: popularity does not predict clicks on them, and the text does.

    Interactions: user, item, time (seconds), rating (1 to 5 stars), click (1 from 4 stars, else 0). Items:
    item, title, category, description. One seed gives the same tables on every platform.
    """

    name = "synthetic"
    summary = "a simulated shop: seeded events whose signal is in the items' titles"

    class Config(StrictConfig):
        """The size of the shop, and the seed."""

        users: int = Field(default=400, ge=2, le=1_000_000)
        items: int = Field(default=300, ge=20, le=5_000)
        events: int = Field(default=12_000, ge=20)
        """Approximate total number: a user has between 0.5 and 1.5 times the average, and no item twice."""
        seed: int = Field(default=0, ge=0)
        """Seed of the shop, not of the training."""

        @model_validator(mode="after")
        def _enough_items(self) -> SyntheticSource.Config:
            if self.events > self.users * self.items // 3:
                raise ValueError(
                    f"{self.events} events are too many for {self.users} users and {self.items} "
                    f"items, since no user has an item twice: at most {self.users * self.items // 3}"
                )
            if self.events < self.users:
                raise ValueError(f"{self.events} events are too few for {self.users} users: at least one for each")
            return self

    config: Config

    def load(self) -> RawTables:
        """The tables, sorted by time."""
        config = self.config
        draw = np.random.default_rng(config.seed)
        shop = _open_shop(draw, config.items)
        users = [_visits(draw, shop, config.events / config.users) for _ in range(config.users)]
        user = np.repeat(np.arange(config.users), [len(visits.item) for visits in users])
        item, time, rating = (np.concatenate(column) for column in zip(*users, strict=True))
        order = np.argsort(time, kind="stable")
        events = {
            "user": pa.array([f"u{number}" for number in user[order]]),
            "item": pa.array([f"i{number}" for number in item[order]]),
            "time": time[order],
            "rating": rating[order],
            "click": (rating[order] >= LIKED).astype(np.int64),
        }
        return RawTables(
            interactions=Dataset(pa.table(events)),
            items=Dataset(pa.table(_described(shop))),
            item_text="{title}",
            origin=f"synthetic shop, seed {config.seed}",
        )


@dataclass(frozen=True)
class Shop:
    """N items as indices into the lists above."""

    theme: np.ndarray
    """[N] department."""
    style: np.ndarray
    """[N] quality."""
    product: np.ndarray
    """[N] index in the department's list."""
    material: np.ndarray
    brand: np.ndarray
    worth: np.ndarray
    """[N] points of the item's quality, the same for all users."""
    appears: np.ndarray
    """[N] seconds after the start."""


class Visits(NamedTuple):
    """One user's events, sorted by time."""

    item: np.ndarray
    time: np.ndarray
    rating: np.ndarray


def _open_shop(draw: np.random.Generator, items: int) -> Shop:
    """Items with as many different qualities and products as possible."""
    numbers = np.arange(items)
    theme = numbers % len(THEMES)
    late = draw.random(items) < LATE
    material = draw.integers(0, len(MATERIALS), items)
    # Items of one product and material differ in brand, so that (up to 960 items) no title occurs twice.
    brand = (numbers // (len(THEMES) * PRODUCTS) + material) % len(BRANDS)
    return Shop(
        theme=theme,
        style=draw.permutation(numbers) % len(STYLES),
        product=(numbers // len(THEMES)) % PRODUCTS,
        material=material,
        brand=brand,
        worth=draw.integers(-QUALITY_POINTS, QUALITY_POINTS + 1, items),
        appears=np.where(late, draw.integers(0, SPAN * 97 // 100, items), 0),
    )


def _visits(draw: np.random.Generator, shop: Shop, average: float) -> Visits:
    """One user's items, times and ratings."""
    events = int(draw.integers(max(1, round(average / 2)), round(average * 3 / 2) + 1))
    favorites = draw.permutation(len(THEMES))[: len(FAVORITES)]
    of_theme = draw.integers(DISLIKED_THEME, 1, len(THEMES))
    of_theme[favorites] = FAVORITES
    of_style = draw.integers(-STYLE_POINTS, STYLE_POINTS + 1, len(STYLES))
    taste = of_theme[shop.theme] + of_style[shop.style]
    time = np.sort(draw.integers(draw.integers(0, SPAN // 2), SPAN, events))
    item = _chosen(draw, shop, taste, favorites, time)
    liking = taste[item] + shop.worth[item] + _noise(draw, SURPRISE_POINTS, events)
    return Visits(item, START + time, 1 + np.searchsorted(STARS, liking, side="right"))


def _chosen(
    draw: np.random.Generator, shop: Shop, taste: np.ndarray, favorites: np.ndarray, time: np.ndarray
) -> np.ndarray:
    """[E] the item of each event: none twice, none before it appears."""
    items = len(taste)
    item = np.empty(len(time), np.int64)
    surprise = _noise(draw, SURPRISE_POINTS, (len(time), items))
    dice = draw.integers(0, 100, (len(time), 2))
    turns = favorites[draw.integers(0, len(favorites), len(time))]
    interest = turns[0]
    free = np.ones(items, bool)
    for event, moment in enumerate(time):
        if dice[event, 0] >= FOLLOW:
            interest = turns[event]
        if dice[event, 1] < BROWSE:
            points = 2 * surprise[event]
        else:
            points = taste + INTEREST_POINTS * (shop.theme == interest) + surprise[event]
        points = points + shop.worth
        item[event] = np.where(free & (shop.appears <= moment), points, -LARGE).argmax()
        free[item[event]] = False
    return item


def _noise(draw: np.random.Generator, points: int, shape: int | tuple[int, int]) -> np.ndarray:
    """Integer noise, roughly normal around 0, with a standard deviation of about `points`."""
    return sum((draw.integers(-points, points + 1, shape) for _ in range(3)), np.zeros(shape, np.int64))


def _described(shop: Shop) -> dict[str, list[str]]:
    """Columns of the item table."""
    rows: dict[str, list[str]] = {"item": [], "title": [], "category": [], "description": []}
    styles, themes = list(STYLES), list(THEMES)
    for number, theme in enumerate(shop.theme):
        style, category = styles[shop.style[number]], themes[theme]
        material, product = MATERIALS[shop.material[number]], THEMES[category][shop.product[number]]
        brand = BRANDS[shop.brand[number]]
        rows["item"].append(f"i{number}")
        rows["title"].append(f"{style[0].upper()}{style[1:]} {material} {product} by {brand}")
        rows["category"].append(category)
        rows["description"].append(f"{STYLES[style]} {material.capitalize()} {product} for {category.lower()}.")
    return rows


@hookimpl
def lorarec_data_sources() -> list[type[DataSource]]:
    """Offer the source."""
    return [SyntheticSource]
