"""Laws that plugin authors run on their plugins: `check_adapter(MyAdapter, tiny_backbone("bert"), r=4)`."""

from lorarec.testing.adapter_laws import check_adapter
from lorarec.testing.plugin_laws import check_plugin
from lorarec.testing.tiny_backbone import FAMILIES, TinyBackbone, tiny_backbone
from lorarec.testing.tiny_data import tiny_catalog, tiny_views

__all__ = [
    "FAMILIES",
    "TinyBackbone",
    "check_adapter",
    "check_plugin",
    "tiny_backbone",
    "tiny_catalog",
    "tiny_views",
]
