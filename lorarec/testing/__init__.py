"""Laws that plugin authors run on their plugins: `check_adapter(MyAdapter, tiny_backbone("bert"), r=4)`."""

from lorarec.testing.adapter_laws import check_adapter
from lorarec.testing.backbone_laws import check_backbone
from lorarec.testing.head_laws import check_task_head, tiny_interactions
from lorarec.testing.plugin_laws import check_data_source, check_metric, check_plugin
from lorarec.testing.tiny import FAMILIES, TinyBackbone, made, tiny_backbone, tiny_catalog, tiny_views
from lorarec.testing.toy_world import ToyWorld, toy_events, toy_world
from lorarec.testing.training_laws import check_loss, check_training_step

__all__ = [
    "FAMILIES",
    "TinyBackbone",
    "ToyWorld",
    "check_adapter",
    "check_backbone",
    "check_data_source",
    "check_loss",
    "check_metric",
    "check_plugin",
    "check_task_head",
    "check_training_step",
    "made",
    "tiny_backbone",
    "tiny_catalog",
    "tiny_interactions",
    "tiny_views",
    "toy_events",
    "toy_world",
]
