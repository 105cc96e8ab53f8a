"""What a run was made with: packages, plugins, processes, fingerprints."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

PACKAGES = ("lorarec", "torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "pluggy", "safetensors")


def environment(providers: Mapping[str, str], **facts: Any) -> dict[str, Any]:
    """Versions of what was used, who provided each part, and the facts given."""
    return {
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else (platform.processor() or "cpu"),
        "threads": torch.get_num_threads(),
        "plugins": dict(providers),
        **facts,
    }
