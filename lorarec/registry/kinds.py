"""The kinds of plugin: the hook that offers each, and the contract that each must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lorarec.contracts.adapter import Adapter
from lorarec.contracts.backbone import Backbone
from lorarec.contracts.callback import Callback
from lorarec.contracts.data_source import DataSource
from lorarec.contracts.loss import Loss
from lorarec.contracts.metric import Metric
from lorarec.contracts.plugin import Plugin
from lorarec.contracts.task_head import TaskHead
from lorarec.contracts.training_step import TrainingStep

KindName = Literal["adapter", "backbone", "head", "source", "metric", "loss", "step", "callback"]


@dataclass(frozen=True)
class Kind:
    """One kind of plugin."""

    name: KindName
    hook: str
    contract: type[Plugin]


KINDS: dict[KindName, Kind] = {
    kind.name: kind
    for kind in (
        Kind("adapter", "lorarec_adapters", Adapter),
        Kind("backbone", "lorarec_backbones", Backbone),
        Kind("head", "lorarec_task_heads", TaskHead),
        Kind("source", "lorarec_data_sources", DataSource),
        Kind("metric", "lorarec_metrics", Metric),
        Kind("loss", "lorarec_losses", Loss),
        Kind("step", "lorarec_steps", TrainingStep),
        Kind("callback", "lorarec_callbacks", Callback),
    )
}
