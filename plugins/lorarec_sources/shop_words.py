"""The words of the synthetic shop: what it sells, what things are made of, whom they suit."""

from __future__ import annotations

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
"""Departments and their products. A department is the strongest part of a person's taste."""

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
"""Qualities in front of the product, each with its sentence. The second part of a person's taste."""

MATERIALS = ("leather", "steel", "bamboo", "wool", "cotton", "plastic", "oak", "rubber")
"""Carry no taste: a model has to learn to read past them."""

BRANDS = (
    "Alderbrook", "Brightwater", "Calloway", "Dunmore", "Everly", "Fernhill", "Grayling", "Hollis",
    "Ironvale", "Juniper & Co", "Kestrel", "Larkfield",
)  # fmt: skip
"""Carry no taste either; made up."""
