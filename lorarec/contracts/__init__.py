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
from lorarec.contracts.examples import Examples
from lorarec.contracts.hooks import hookimpl
from lorarec.contracts.metric import Metric
from lorarec.contracts.pair_predictor import PairPredictor, PointwiseHead
from lorarec.contracts.plugin import Plugin
from lorarec.contracts.predictor import FinishedRun, Judged, Predictions, Predictor, Scored, device_of
from lorarec.contracts.task_head import Encoder, Head, HeadOutput, TaskHead
from lorarec.contracts.vector_predictor import RetrievalHead, VectorPredictor
from lorarec.data.catalog import Catalog
from lorarec.data.history import Histories, History
from lorarec.data.interactions import Interactions, Part
from lorarec.data.negatives import NegativeSampler, StepSample
from lorarec.data.requests import Requests
from lorarec.data.statistics import Statistics, TrainingEvents
from lorarec.data.view import View
from lorarec.errors import DataError, IncompatibleError, LorarecError
from lorarec.prediction.ranking import Candidates

__all__ = [
    "Adapter",
    "Architecture",
    "Backbone",
    "Batch",
    "Callback",
    "Candidates",
    "Catalog",
    "Collation",
    "DataError",
    "DataSource",
    "Encoded",
    "Encoder",
    "Examples",
    "Featurizer",
    "FinishedRun",
    "Head",
    "HeadOutput",
    "Histories",
    "History",
    "IncompatibleError",
    "Interactions",
    "Judged",
    "LorarecError",
    "Metric",
    "NegativeSampler",
    "PairPredictor",
    "Part",
    "Plugin",
    "PointwiseHead",
    "Predictions",
    "Predictor",
    "RawTables",
    "Remarks",
    "Requests",
    "RetrievalHead",
    "Scored",
    "Statistics",
    "StepSample",
    "StrictConfig",
    "TaskHead",
    "TrainState",
    "TrainingEvents",
    "TrainingPlan",
    "VectorPredictor",
    "View",
    "Views",
    "device_of",
    "did_you_mean",
    "hookimpl",
]
