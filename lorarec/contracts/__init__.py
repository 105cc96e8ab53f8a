"""The one door for plugins: everything an adapter, head, backbone, source, metric or callback needs.

This package alone is under semantic versioning. Plugins import from here and nowhere else in lorarec.
"""

from lorarec.config.strict import StrictConfig
from lorarec.config.suggest import did_you_mean
from lorarec.contracts.adapter import Adapter, TrainingPlan
from lorarec.contracts.backbone import Architecture, Backbone, Encoded, Featurizer, Remarks
from lorarec.contracts.batch import Batch, Collation, Views
from lorarec.contracts.callback import Callback, TrainState
from lorarec.contracts.data_source import DataSource, RawTables
from lorarec.contracts.hooks import hookimpl
from lorarec.contracts.metric import Metric
from lorarec.contracts.plugin import Plugin
from lorarec.contracts.task_head import (
    Encoder,
    Head,
    HeadOutput,
    PointwiseHead,
    RetrievalHead,
    TaskHead,
)
from lorarec.data.cached_table import cache_folder, cached_table
from lorarec.data.catalog import Catalog
from lorarec.data.history import Histories, History
from lorarec.data.interactions import Interactions, Part
from lorarec.data.negatives import NegativeSampler, StepSample
from lorarec.data.statistics import Statistics, TrainingEvents
from lorarec.data.tables import joined_tables, read_table
from lorarec.data.view import View
from lorarec.errors import DataError, IncompatibleError, LorarecError

__all__ = [
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
    "Plugin",
    "PointwiseHead",
    "RawTables",
    "Remarks",
    "RetrievalHead",
    "Statistics",
    "StepSample",
    "StrictConfig",
    "TaskHead",
    "TrainState",
    "TrainingEvents",
    "TrainingPlan",
    "View",
    "Views",
    "cache_folder",
    "cached_table",
    "did_you_mean",
    "hookimpl",
    "joined_tables",
    "read_table",
]
