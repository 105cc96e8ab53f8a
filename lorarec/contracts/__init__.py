"""The public interface for plugins: everything an adapter, head, backbone, source, metric or callback needs.

Of lorarec, plugins import this package only; it follows semantic versioning.
"""

from typing import TYPE_CHECKING, Any

from lorarec.config.strict import StrictConfig, did_you_mean
from lorarec.contracts.adapter import OWN_ADAPTER, Adapter, TrainingPlan
from lorarec.contracts.backbone import Architecture, Backbone, Encoded, Featurizer, Notes, View
from lorarec.contracts.batch import Batch, Collation, Examples, Views
from lorarec.contracts.click_task import ClickTask
from lorarec.contracts.loss import SHAPES, Loss, LossFunction, Takes, moved, named
from lorarec.contracts.metric import Metric, weighted_mean, weighted_ratio
from lorarec.contracts.pair_batch import PaddedHistory, distinct_items, event_examples, pair_batch
from lorarec.contracts.pair_layers import ItemEmbedding, PairScore, TextCosine, pair_products
from lorarec.contracts.pair_predictor import PairHead, PairPredictor
from lorarec.contracts.plugin import DataSource, Plugin, hookimpl
from lorarec.contracts.predictor import FinishedRun, MetricInputs, Model, Predictions, Predictor, Scored
from lorarec.contracts.rating_task import RatingTask
from lorarec.contracts.targets import (
    Targets,
    adaptable_layers,
    check_targets,
    chosen_blocks,
    expand_pattern,
    find_targets,
)
from lorarec.contracts.task_head import Encoder, Head, TaskHead
from lorarec.contracts.training import Callback, StepContext, TrainingStep, TrainState
from lorarec.contracts.transformer_block import TransformerBlock, causal_mask
from lorarec.contracts.vector_predictor import VectorHead, VectorPredictor
from lorarec.contracts.weight_files import load_weights
from lorarec.data.cache import Cached, cache_folder, cached, read_cached
from lorarec.data.catalog import Catalog
from lorarec.data.columns import is_list
from lorarec.data.file_rows import Rows
from lorarec.data.history import Histories, History
from lorarec.data.interactions import Interactions, Part
from lorarec.data.negatives import NegativeSampler, StepSample
from lorarec.data.open_files import SUFFIXES, ReadOptions, known_encoding, open_text, read_errors, table_origin
from lorarec.data.ordering import order_by
from lorarec.data.parquet_table import ParquetTable
from lorarec.data.raw_tables import RawTables
from lorarec.data.requests import Requests
from lorarec.data.statistics import Statistics, TrainingEvents
from lorarec.data.tables import cached_table, joined_tables, read_events, read_table, reading_notes, table_rows
from lorarec.disk import atomic_write
from lorarec.errors import DataError, IncompatibleError, LorarecError
from lorarec.prediction.ranking import Candidates
from lorarec.untrusted import is_inside, read_json

if TYPE_CHECKING:
    from lorarec.contracts.peft_adapter import PeftAdapter

__all__ = [
    "OWN_ADAPTER",
    "SHAPES",
    "SUFFIXES",
    "Adapter",
    "Architecture",
    "Backbone",
    "Batch",
    "Cached",
    "Callback",
    "Candidates",
    "Catalog",
    "ClickTask",
    "Collation",
    "DataError",
    "DataSource",
    "Encoded",
    "Encoder",
    "Examples",
    "Featurizer",
    "FinishedRun",
    "Head",
    "Histories",
    "History",
    "IncompatibleError",
    "Interactions",
    "ItemEmbedding",
    "LorarecError",
    "Loss",
    "LossFunction",
    "Metric",
    "MetricInputs",
    "Model",
    "NegativeSampler",
    "Notes",
    "PaddedHistory",
    "PairHead",
    "PairPredictor",
    "PairScore",
    "ParquetTable",
    "Part",
    "PeftAdapter",
    "Plugin",
    "Predictions",
    "Predictor",
    "RatingTask",
    "RawTables",
    "ReadOptions",
    "Requests",
    "Rows",
    "Scored",
    "Statistics",
    "StepContext",
    "StepSample",
    "StrictConfig",
    "Takes",
    "Targets",
    "TaskHead",
    "TextCosine",
    "TrainState",
    "TrainingEvents",
    "TrainingPlan",
    "TrainingStep",
    "TransformerBlock",
    "VectorHead",
    "VectorPredictor",
    "View",
    "Views",
    "adaptable_layers",
    "atomic_write",
    "cache_folder",
    "cached",
    "cached_table",
    "causal_mask",
    "check_targets",
    "chosen_blocks",
    "did_you_mean",
    "distinct_items",
    "event_examples",
    "expand_pattern",
    "find_targets",
    "hookimpl",
    "is_inside",
    "is_list",
    "joined_tables",
    "known_encoding",
    "load_weights",
    "moved",
    "named",
    "open_text",
    "order_by",
    "pair_batch",
    "pair_products",
    "read_cached",
    "read_errors",
    "read_events",
    "read_json",
    "read_table",
    "reading_notes",
    "table_origin",
    "table_rows",
    "weighted_mean",
    "weighted_ratio",
]


def __getattr__(name: str) -> Any:
    """Import `PeftAdapter` at its first use: importing PEFT takes seconds, too long for `--help`."""
    if name != "PeftAdapter":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from lorarec.contracts.peft_adapter import PeftAdapter

    return PeftAdapter
