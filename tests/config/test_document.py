"""Overrides replace sections, set keys, and refuse what they cannot read."""

import pytest

from lorarec.config.document import apply_overrides
from lorarec.errors import RecipeError

DOCUMENT = {
    "seed": 13,
    "adapter": {"name": "lora", "r": 8, "alpha": 16},
    "data": {"source": "files"},
    "head": {"name": "ctr", "loss": "bce"},
    "train": {},
}


@pytest.mark.parametrize(
    ("overrides", "path", "expected"),
    [
        (["adapter=prefix"], ["adapter"], {"name": "prefix"}),
        (["adapter=lora"], ["adapter"], {"name": "lora"}),
        (["adapter={name: lora, r: 2}"], ["adapter"], {"name": "lora", "r": 2}),
        (["adapter.name=prefix"], ["adapter"], {"name": "prefix"}),
        (["adapter.name=lora"], ["adapter"], {"name": "lora", "r": 8, "alpha": 16}),
        (["adapter.r=16"], ["adapter"], {"name": "lora", "r": 16, "alpha": 16}),
        (["adapter=lora", "adapter.r=4"], ["adapter"], {"name": "lora", "r": 4}),
        (["adapter.r=4", "adapter=lora"], ["adapter"], {"name": "lora"}),
        (["data.source.path=/a/b"], ["data", "source"], {"name": "files", "path": "/a/b"}),
        (["data.source=hub"], ["data", "source"], {"name": "hub"}),
        (["head.bias=true"], ["head", "bias"], True),
        (["head.loss.label_smoothing=0.1"], ["head", "loss"], {"name": "bce", "label_smoothing": 0.1}),
        (["head.loss=gbce", "head.loss.calibration=0"], ["head", "loss"], {"name": "gbce", "calibration": 0}),
        (["head.loss={name: gbce, calibration: 0}", "head.loss.name=mse"], ["head", "loss"], {"name": "mse"}),
        (["seed=1"], ["seed"], 1),
        (["train.learning_rate=1e-3"], ["train", "learning_rate"], 0.001),
        (["train.trackers=[wandb, mlflow]"], ["train", "trackers"], ["wandb", "mlflow"]),
        (["train.patience=null"], ["train", "patience"], None),
        (["data.item_text=a=b=c"], ["data", "item_text"], "a=b=c"),
        (["data.item_text=a: b #c"], ["data", "item_text"], "a: b #c"),
        (["data.item_text='{title} ({year})'"], ["data", "item_text"], "{title} ({year})"),
        (["data.item_text=no"], ["data", "item_text"], "no"),
        (["data.item_text=''"], ["data", "item_text"], ""),
    ],
)
def test_overrides_set_values(overrides, path, expected):
    value = apply_overrides(DOCUMENT, overrides)
    for key in path:
        value = value[key]
    assert value == expected
    assert type(value) is type(expected)


def test_the_given_document_is_not_changed():
    apply_overrides(DOCUMENT, ["adapter.r=1", "data.source.path=x"])
    assert DOCUMENT["adapter"]["r"] == 8
    assert DOCUMENT["data"] == {"source": "files"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "there is no '='. Write key=value, such as train.epochs=2."),
        ("=3", "the key before '=' is empty or has an empty part. Write key=value, such as train.epochs=2."),
        ("train..epochs=3", "the key before '=' is empty or has an empty part. "
         "Write key=value, such as train.epochs=2."),
        ("train.epochs=", "there is no value after '='. "
         "Write train.epochs=null, or train.epochs='\"\"' for empty text."),
        ("seed.x=3", "'seed' is not a section, so nothing can be set inside it."),
        ("evaluate.metrics=[auc", "the value opens with [ but is not YAML. "
         "For a list write evaluate.metrics=[a, b]; put other text into quotes inside quotes: "
         "evaluate.metrics='\"...\"'."),
    ],
)  # fmt: skip
def test_overrides_that_cannot_be_read_are_refused(override, message):
    with pytest.raises(RecipeError) as caught:
        apply_overrides(DOCUMENT, [override])
    assert str(caught.value) == f"override '{override}': {message}"


def test_all_overrides_that_cannot_be_read_are_reported_at_once():
    with pytest.raises(RecipeError) as caught:
        apply_overrides(DOCUMENT, ["a", "seed=1", "=b"])
    assert len(caught.value.problems) == 2
