"""Each adapter on each backbone family: it trains, or it is refused by name before any weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorarec.contracts import Adapter, IncompatibleError
from lorarec.testing import check_adapter
from lorarec_adapters.adalora import AdaLora
from lorarec_adapters.frozen import Frozen
from lorarec_adapters.full import Full
from lorarec_adapters.lora import Lora
from lorarec_adapters.prefix import Prefix
from lorarec_backbones.text import TextBackbone

FAMILIES = (
    *("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "mpnet"),
    *("gpt2", "llama", "qwen3", "gemma3"),
)
WITHOUT_PAST = ("distilbert", "modernbert", "deberta-v2", "mpnet")
ADAPTERS: dict[str, tuple[type[Adapter], dict[str, Any]]] = {
    "lora": (Lora, {}),
    "adalora": (AdaLora, {}),
    "prefix": (Prefix, {"tokens": 5}),
    "prefix-projection": (Prefix, {"tokens": 5, "projection": True}),
    "full": (Full, {}),
    "frozen": (Frozen, {}),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapter", [*ADAPTERS, "ia3"])
def test_an_adapter_trains_only_its_own_weights_or_is_refused_by_name(
    adapter: str, family: str, tiny_checkpoint: Callable[[str], Path]
) -> None:
    adapter_class, options = _find(adapter)
    backbone = TextBackbone(TextBackbone.Config(checkpoint=str(tiny_checkpoint(family))))
    if adapter.startswith("prefix") and family in WITHOUT_PAST:
        with pytest.raises(
            IncompatibleError, match=rf"'prefix' cannot attach to backbone 'text' \({family}\).* Use lora"
        ):
            adapter_class(adapter_class.Config.model_validate(options)).check(backbone.architecture())
        assert not hasattr(backbone, "module"), "weights were loaded before the refusal"
        return
    check_adapter(adapter_class, backbone, **options)


def _find(adapter: str) -> tuple[type[Adapter], dict[str, Any]]:
    if adapter != "ia3":
        return ADAPTERS[adapter]
    package = pytest.importorskip("lorarec_ia3", reason="lorarec-ia3 is not installed")
    (ia3,) = package.lorarec_adapters()
    return ia3, {}
