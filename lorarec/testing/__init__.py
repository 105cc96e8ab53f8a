"""Laws that plugin authors run on their plugins: `check_adapter(MyAdapter, tiny_backbone("bert"), r=4)`."""

from lorarec.testing.adapter_laws import check_adapter
from lorarec.testing.backbone_laws import check_backbone
from lorarec.testing.head_laws import check_task_head, tiny_interactions
from lorarec.testing.loss_laws import check_loss
from lorarec.testing.made import made
from lorarec.testing.metric_laws import check_metric
from lorarec.testing.plugin_laws import check_plugin
from lorarec.testing.source_laws import check_data_source
from lorarec.testing.step_laws import check_training_step
from lorarec.testing.tiny_backbone import FAMILIES, TinyBackbone, tiny_backbone
from lorarec.testing.tiny_data import tiny_catalog, tiny_views

__all__ = [
    "FAMILIES",
    "TinyBackbone",
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
]
