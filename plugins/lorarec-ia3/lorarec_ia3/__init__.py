"""IA3 for lorarec: the adapter `ia3`."""

from __future__ import annotations

from collections.abc import Iterable

from lorarec.contracts import Adapter, hookimpl
from lorarec_ia3.adapter import Ia3


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """IA3."""
    return [Ia3]
