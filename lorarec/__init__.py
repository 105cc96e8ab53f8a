"""Fine-tune pretrained models for recommendation by training as few weights as possible.

Public functions: `lorarec.train(recipe, overrides)` and `lorarec.load(run)`. Plugin authors import from
`lorarec.contracts`. Names are imported on first use, so that `import lorarec` and `lorarec --help` stay fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorarec.contracts.plugin import hookimpl as hookimpl
    from lorarec.errors import LorarecError as LorarecError
    from lorarec.inference.recommender import Recommender as Recommender
    from lorarec.pipeline.load import load as load
    from lorarec.pipeline.train import train as train

__version__ = "0.2.0.dev0"

_MODULES = {
    "LorarecError": "lorarec.errors",
    "Recommender": "lorarec.inference.recommender",
    "hookimpl": "lorarec.contracts.plugin",
    "load": "lorarec.pipeline.load",
    "train": "lorarec.pipeline.train",
}

__all__ = ["LorarecError", "Recommender", "__version__", "hookimpl", "load", "train"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'lorarec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
