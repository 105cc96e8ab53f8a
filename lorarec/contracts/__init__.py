"""The one door for plugins: everything an adapter, head, backbone, source, metric or callback needs.

This package alone is under semantic versioning. Plugins import from here and nowhere else in lorarec.
"""

from typing import TYPE_CHECKING, Any

from lorarec.config.strict import StrictConfig
from lorarec.config.suggest import did_you_mean
from lorarec.contracts.adapter import OWN_ADAPTER, Adapter, TrainingPlan
from lorarec.contracts.backbone import Architecture, Backbone, Encoded, Featurizer, Remarks
from lorarec.contracts.batch import Batch, Collation, Views
from lorarec.contracts.callback import Callback, TrainState
from lorarec.contracts.data_source import DataSource, RawTables
from lorarec.contracts.hooks import hookimpl
from lorarec.contracts.metric import Metric
from lorarec.contracts.plugin import Plugin
from lorarec.contracts.targets import (
    Targets,
    adaptable_layers,
    check_targets,
    chosen_blocks,
    expand_pattern,
    find_targets,
)
from lorarec.contracts.task_head import (
    Encoder,
    Head,
    HeadOutput,
    PointwiseHead,
    RetrievalHead,
    TaskHead,
)
from lorarec.data.catalog import Catalog
from lorarec.data.history import Histories, History
from lorarec.data.interactions import Interactions, Part
from lorarec.data.negatives import NegativeSampler, StepSample
from lorarec.data.statistics import Statistics, TrainingEvents
from lorarec.data.view import View
from lorarec.errors import DataError, IncompatibleError, LorarecError

if TYPE_CHECKING:
    from lorarec.contracts.peft_adapter import PeftAdapter

__all__ = [
    "OWN_ADAPTER",
    "Adapter",
    "Architecture",
    "Backbone",
    "Batch",
    "Callback",
    "Catalog",
    "Collation",
    "DataError",
    "DataSource",
    "Encoded",
    "Encoder",
    "Featurizer",
    "Head",
    "HeadOutput",
    "Histories",
    "History",
    "IncompatibleError",
    "Interactions",
    "LorarecError",
    "Metric",
    "NegativeSampler",
    "Part",
    "PeftAdapter",
    "Plugin",
    "PointwiseHead",
    "RawTables",
    "Remarks",
    "RetrievalHead",
    "Statistics",
    "StepSample",
    "StrictConfig",
    "Targets",
    "TaskHead",
    "TrainState",
    "TrainingEvents",
    "TrainingPlan",
    "View",
    "Views",
    "adaptable_layers",
    "check_targets",
    "chosen_blocks",
    "did_you_mean",
    "expand_pattern",
    "find_targets",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    """`PeftAdapter` when it is first asked for: importing PEFT takes seconds that `--help` does not have."""
    if name != "PeftAdapter":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from lorarec.contracts.peft_adapter import PeftAdapter

    return PeftAdapter
