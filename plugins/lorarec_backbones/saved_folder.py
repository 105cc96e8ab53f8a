"""The copy of a backbone in a run folder, which a stranger may have written: checked before transformers reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lorarec.contracts import LorarecError, is_inside, read_json
from lorarec_backbones.saved_tokenizer import check_tokenizer

CONFIG, TOKENIZER_CONFIG, TOKENIZER = "config.json", "tokenizer_config.json", "tokenizer.json"
INDEX, MODULES = "model.safetensors.index.json", "modules.json"
REDIRECTS = "adapter_config.json"
"""With this file in the folder, transformers would read another model."""
ROTARY_POSITIONS = 2**24
"""Positions of a model whose weights do not say how many it has."""
MOST_TEXT = 2**24
MOST_TOKENIZER = 2**28
"""Bytes of a tokenizer's vocabulary."""


def check_saved_folder(folder: Path) -> None:
    """Raises LorarecError if the folder names files outside, describes another model than that of its weights, or has a
    pattern that may take exponential time."""
    try:
        if (folder / REDIRECTS).exists():
            raise ValueError(f"{REDIRECTS} names another model")
        _check_modules(folder)
        _check_index(folder)
        _check_sizes(_settings(folder / CONFIG), *_counts(folder))
        _check_tokenizer(folder)
    except (ValueError, OSError, SafetensorError) as error:
        raise LorarecError(f"{folder}: is no copy of a backbone as lorarec writes it: {error}.") from error


def _settings(file: Path) -> dict[str, Any]:
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise ValueError(f"{file.name} holds no settings")
    return settings


def _check_modules(folder: Path) -> None:
    """Of sentence-transformers: the transformer that is checked here must be the one that is read."""
    for file in folder.rglob("*.json"):
        if file.stat().st_size > (MOST_TOKENIZER if file.parent == folder else MOST_TEXT):
            raise ValueError(f"{file.name} is too large")
    if (folder / MODULES).exists():
        modules = read_json(folder / MODULES)
        first = modules[0] if isinstance(modules, list) and modules else None
        if not isinstance(first, dict) or first.get("path") != "":
            raise ValueError(f"{MODULES} does not begin with the transformer in the folder itself")


def _check_index(folder: Path) -> None:
    if not (folder / INDEX).exists():
        return
    shards = _settings(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict):
        raise ValueError(f"{INDEX} names no files")
    for shard in shards.values():
        if not isinstance(shard, str) or not is_inside(shard) or "/" in shard or not (folder / shard).is_file():
            raise ValueError(f"{INDEX} names {shard!r:.60}, which is no file in the folder")


def _counts(folder: Path) -> tuple[int, int]:
    """The number of weights in the folder, and their largest dimension."""
    weights, largest = 0, 1
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as saved:
            for name in saved.keys():  # noqa: SIM118 (no mapping)
                weights += 1
                largest = max(largest, *saved.get_slice(name).get_shape(), 1)
    if not weights:
        raise ValueError("it has no weights in safetensors files")
    return weights, largest


def _check_sizes(settings: dict[str, Any], weights: int, largest: int) -> None:
    """Raises ValueError for counts that the weights cannot have: some are used before any weight is built."""
    for name, number in _numbers(settings):
        counts = name.startswith(("num_", "n_")) or "layers" in name or "labels" in name
        if number > (max(weights, largest) if counts else max(largest, ROTARY_POSITIONS)) and "rope" not in name:
            raise ValueError(f"{CONFIG} says {name}={number:.4g}, more than its {weights:,} weights allow")


def _numbers(settings: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _numbers(value, key)
    elif isinstance(settings, list):
        for value in settings:
            yield from _numbers(value, name)
    elif isinstance(settings, int) and not isinstance(settings, bool):
        yield name, min(settings, 10**300)


def _check_tokenizer(folder: Path) -> None:
    if (folder / TOKENIZER_CONFIG).exists():
        for name, value in _settings(folder / TOKENIZER_CONFIG).items():
            if name.endswith(("_file", "_files")) and value:
                raise ValueError(f"{TOKENIZER_CONFIG} names another file ({name})")
    if (folder / TOKENIZER).exists():
        check_tokenizer(read_json(folder / TOKENIZER, MOST_TOKENIZER))
