"""Recipe: which data, backbone, adapter and head, and how to train."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from lorarec.config.strict import StrictConfig, did_you_mean

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class PluginChoice(BaseModel):
    """A plugin's name, and options that only the plugin's `Config` can check. `adapter: lora` alone is valid."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """The options, not yet checked."""
        return dict(self.model_extra or {})


class SplitSection(StrictConfig):
    """How events become training, validation and test."""

    by: Literal["time", "last", "random", "column"] = "time"
    """time: the latest events are test (nothing is learned from the future of any user). last: each user's last event
    is test, the one before validation. random: rows drawn by the seed. column: a column of the data, see `column`."""
    validation: Fraction = 0.1
    """Share of the rows (time, random), or of the training rows (column, where it names no validation rows)."""
    test: Fraction = 0.1
    """Share of the rows (time, random)."""
    column: str = "split"
    """For `by: column`: a column of train/validation/test, or one that is true where a row is test."""
    disjoint: tuple[Literal["user", "item"], ...] = ()
    """What the split promises: no user, or no item, of training among the held-out rows. The leakage audit reports
    violations."""
    users: str | None = None
    """For `by: last`: a column that is true in the rows of the users to evaluate. The last two events of the others
    are left out, so that all users train on the same part of their events."""
    train_rows: Count | None = None
    """Number of training rows to learn from, drawn by the seed (few-shot); all by default. The others are in no part;
    unless rows come with histories, they remain events of their users' histories."""

    @model_validator(mode="after")
    def _no_dead_setting(self) -> SplitSection:
        works = {
            "validation": self.by != "last",
            "test": self.by not in ("last", "column"),
            "column": self.by == "column",
            "users": self.by == "last",
        }
        for name in self.idle(works):
            raise ValueError(
                f"'{name}: {getattr(self, name)}' does nothing with 'by: {self.by}'. Leave it out "
                f"(an override data.split={{by: {self.by}}} does)"
            )
        if self.by == "last" and "user" in self.disjoint:
            raise ValueError("'by: last' holds events of the training users out: 'disjoint: [user]' cannot be kept")
        return self


class HistorySection(StrictConfig):
    """Which of a user's events a model may see when it predicts one."""

    scope: Literal["past", "training"] = "past"
    """past: events strictly before. training: all of the user's other training events, whatever their time: the
    protocol of random splits such as MovieLens u1, which ignores time (refused for `by: time` and `by: last`)."""
    at_least: Annotated[int, Field(ge=0)] = 0
    """Events with a shorter history are left out, and counted."""


def _word(value: Any) -> Any:
    """A value of the data, which may be a number there; it is compared as text."""
    if value is None or isinstance(value, bool):
        read = "null" if value is None else str(value).lower()
        quoted = "NULL" if value is None else read
        raise ValueError(f"without quotes, YAML reads the word as {read}. Put it in quotes, such as '{quoted}'")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) else value


EventKind = Annotated[str, BeforeValidator(_word)]
Word = Annotated[EventKind, AfterValidator(str.strip)]
"""A word for a missing value: blanks around it do not matter."""


class EventsSection(StrictConfig):
    """What each kind of event means, by the values of the column `event`. Every kind of the data is named once."""

    positive: Annotated[tuple[EventKind, ...], Field(min_length=1)]
    """Kinds that say a user wanted the item, such as view, click, purchase: targets, liked in histories, popularity."""
    negative: tuple[EventKind, ...] = ()
    """Kinds that say a user did not want it, such as dislike, return: never a target to rank first, never popularity.
    They are in histories, as disliked, if the task distinguishes likes from dislikes; 0 if it predicts clicks."""
    shown: tuple[EventKind, ...] = ()
    """Kinds that say only that the user saw the item, such as impression: never in a history, never popularity; 0 if
    the task predicts clicks, unless another event of the same user and item follows it (in a split by time, one that
    is not in a later part)."""
    ignore: tuple[EventKind, ...] = ()
    """Kinds whose rows are skipped."""
    weights: dict[EventKind, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """How much a row of a kind counts in the training loss, 1 by default; multiplies the column `weight`, if any."""

    @model_validator(mode="after")
    def _each_kind_once(self) -> EventsSection:
        used = (*self.positive, *self.negative, *self.shown)
        named = [*used, *self.ignore]
        again = sorted(kind for kind, count in Counter(named).items() if count > 1)
        if again:
            raise ValueError(f"a kind has one meaning, but {', '.join(map(repr, again))} is named more than once")
        for kind in self.weights:
            if kind not in used:
                raise ValueError(
                    f"weights names {kind!r}, which no one of positive, negative, shown does.{did_you_mean(kind, used)}"
                )
        return self


class MinEvents(StrictConfig):
    """The least numbers of events of users and items that stay in the data (k-core)."""

    user: Count = 1
    item: Count = 1


Words = Annotated[tuple[Word, ...], Field(min_length=1)]
WordsOfColumns = dict[Literal["user", "item", "time", "rating", "click", "weight", "event"], Words]
MissingWords = Annotated[
    Annotated[Words, Tag("list")] | Annotated[WordsOfColumns, Tag("columns")],
    Discriminator(lambda value: "columns" if isinstance(value, dict) else "list"),
]


class DataSection(StrictConfig):
    """Where events come from and how they are read."""

    source: PluginChoice
    columns: dict[str, str] = Field(default_factory=dict)
    """lorarec's column name (user, item, time, rating, click, event, weight, history, history_feedback, split) ->
    the data's. `weight` says how much each row counts in the training loss; metrics are not weighted."""
    item_id: str | None = None
    user_id: str | None = None
    """The columns of ids in the item and users' tables, where they are not called as in the interactions."""
    events: EventsSection | None = None
    """What the kinds of the column `event` mean; needed if there is such a column."""
    item_text: str | None = None
    """Template of an item's text over the item table, such as "{title} ({genres})"; the source's by default."""
    item_text_html: Literal["keep", "strip"] = "keep"
    """Whether tags are removed from the items' texts, and entities such as `&amp;` decoded; the run keeps the setting
    for later items."""
    unlisted_items: Literal["some", "all"] = "some"
    """How many of the interactions' items may be missing from the item table; their ids are then their texts. some, or
    all, which is refused by default, since it usually means that the two tables spell their ids differently."""
    dates: str | None = None
    """How times are written as dates: day_first (28/02/2013), month_first (02/28/2013), or a format of Python's
    strptime such as "%d/%m/%y"; detected by default where all rows agree."""
    missing: Literal["refuse", "drop"] = "refuse"
    """Rows without a value in user, item, time, rating, click, weight or event, and items and users without an id in
    their tables: refused by row, or left out and counted."""
    missing_values: MissingWords | None = None
    """Words that stand for a missing value, such as N/A, NULL or -, as pandas' `na_values`: a list for all columns,
    those of the item and users' tables too, or one for each column of the interactions, {rating: [0]}. By default,
    only an empty field does. Lists of items (histories) that contain one are refused; in their feedback, the number
    is missing."""
    duplicates: Literal["keep", "drop", "sum"] = "keep"
    """Rows that repeat user, item, time and kind of an earlier row: kept as events of their own, left out and counted,
    or added up: the earlier row has the sum of their weights, which are 1 without a column `weight`."""
    min_events: Count | MinEvents | None = None
    """Leave out users and items with fewer events, {user: 5, item: 5} or one number for both, again and again until
    all that are left have enough (the k-core of the literature). It is applied before the split, as the literature
    does: events that are held out count as well."""
    liked_above: float | None = None
    """Feedback above this number counts as liked; the middle of the training labels' range by default."""
    split: SplitSection = SplitSection()
    history: HistorySection = HistorySection()

    @field_validator("dates")
    @classmethod
    def _is_an_order_or_a_format(cls, dates: str | None) -> str | None:
        if dates is not None and "%" not in dates and dates not in ("day_first", "month_first"):
            hint = did_you_mean(dates, ("day_first", "month_first"))
            raise ValueError(f"'{dates}' is neither day_first, month_first nor a format such as '%d/%m/%Y'.{hint}")
        return dates


class TrainSection(StrictConfig):
    """How the weights are trained."""

    renamed: ClassVar = {"shuffle_block": "shuffle_block_size"}
    epochs: Count = 3
    max_steps: Count | None = None
    """Stop after this many optimizer steps, if the epochs give more."""
    batch_size: Count = 32
    """Examples per micro-batch and process."""
    accumulate: Count = 1
    """Micro-batches per optimizer step, weighted by their numbers of targets."""
    shuffle_block_size: Count = 1
    """Shuffle examples in blocks of this many neighbors (by user, then in the order of the data) instead of one by one.
    Neighbors share most of their history, whose texts a batch encodes once: faster, but batches are less mixed."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    head_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of the head's weights; `learning_rate` by default."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW, on matrices only (not on biases and norms)."""
    warmup: Fraction = 0.1
    """Share of the steps over which the learning rate rises from 0, so that the first of them moves no weight."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    step: PluginChoice = PluginChoice(name="accumulate")
    """How the gradients of an optimizer step are computed; a training step plugin."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Autocast of the whole model. For a frozen backbone set `backbone.dtype` to bf16 instead, which needs no
    autocast."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    cache_frozen_layers: bool = True
    """If the lowest blocks stay frozen (an adapter's `layers`), compute their hidden states of every item once and keep
    them on disk. The same up to rounding, and faster by about the share of blocks that are skipped."""
    save_every: Count | Literal["epoch", "never"] = "epoch"
    """Optimizer steps between checkpoints."""
    keep_checkpoints: Count = 2
    log_every: Count = 10
    """Optimizer steps between lines of history.jsonl."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers of Accelerate, by name: tensorboard, wandb, mlflow."""
    warm_start: str | None = None
    """Folder of a finished run whose adapter training starts from, instead of an untrained one: the same adapter with
    the same settings, on the same backbone. The head starts untrained."""
    profile: bool = False
    """Trace a few of the run's first steps into its folder, with a table of where the time of a step goes."""
    processes: Count | None = None
    """Refuse to start unless exactly this many processes run; any number by default."""

    @model_validator(mode="after")
    def _no_dead_setting(self) -> TrainSection:
        if self.idle({"keep_checkpoints": self.save_every != "never"}):
            raise ValueError("'keep_checkpoints' does nothing with 'save_every: never'. Leave one of them out")
        return self


Seen = Literal["mask", "keep"]
"""Whether items that a user had before are left out of their ranking, or ranked like all others."""


class EvaluateSection(StrictConfig):
    """How the model is evaluated."""

    seen: Seen = "mask"
    """Items that a user had before: mask leaves them out of every ranking, so that only new ones are recommended; keep
    ranks them like all others, for what people take again, such as music and groceries. It is what `recommend` does by
    default, too."""
    metrics: tuple[str, ...] = ()
    """Names such as rmse or ndcg@10; the head's defaults if empty. The first one chooses the best checkpoint."""
    every: Count | Literal["epoch"] = "epoch"
    """Optimizer steps between evaluations on validation."""
    patience: Count | None = None
    """Stop after this many evaluations without improvement; never by default."""
    batch_size: Count = 256
    """Examples per batch and process."""


class Recipe(StrictConfig):
    """All settings of one training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 13
    data: DataSection
    backbone: PluginChoice
    adapter: PluginChoice
    head: PluginChoice
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()
    callbacks: tuple[PluginChoice, ...] = ()
    """Callback plugins to add."""
