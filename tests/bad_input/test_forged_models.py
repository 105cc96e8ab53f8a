"""Run folders that an enemy has written: models that are too large, not finite, read other files or bring code."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorarec.artifact.layout import write_checksums
from lorarec.config.yaml_text import read_yaml, write_yaml
from lorarec.errors import ArtifactError, LorarecError
from lorarec.pipeline.evaluate import evaluate
from lorarec.pipeline.load import load
from lorarec_backbones.text import TextBackbone


@pytest.fixture
def loaded(copied_run: Callable[[str], Path]) -> Callable[..., str]:
    """loaded(change, head): the message by which loading a forged run is refused."""

    def of(change: Callable[[Path], Any], head: str = "ctr", names_run: bool = True) -> str:
        run = copied_run(head)
        change(run)
        write_checksums(run)
        with pytest.raises(LorarecError) as refusal:
            load(run)
        message = str(refusal.value)
        assert len(message) < 1_500 and (run.name in message or not names_run)
        return message

    return of


def in_json(file: str, **entries: Any) -> Callable[[Path], Any]:
    """Sets entries of a JSON file; those that are None are removed."""

    def change(run: Path) -> None:
        content = json.loads((run / file).read_text()) | entries
        (run / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def in_recipe(*keys: str, value: Any) -> Callable[[Path], Any]:
    """Sets a value of the recipe."""

    def change(run: Path) -> None:
        recipe, _ = read_yaml((run / "recipe.yaml").read_text(), "recipe.yaml")
        section = recipe
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        (run / "recipe.yaml").write_text(write_yaml(recipe))

    return change


def in_weights(file: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], Any]:
    """Replaces the first weight of several dimensions, or else the first one."""

    def replace(run: Path) -> None:
        weights = load_file(run / file)
        name = next((name for name, weight in weights.items() if weight.dim() > 1), next(iter(weights)))
        save_file(weights | {name: change(weights[name]).contiguous()}, run / file, {"format": "pt"})

    return replace


@pytest.mark.parametrize("where", ["adapter/adapter_model.safetensors", "backbone/model.safetensors"])
def test_weights_of_adapter_and_backbone_must_be_finite(
    where: str, loaded: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(run: Path) -> None:
        monkeypatch.setattr(TextBackbone, "fingerprint", lambda _: "fits")
        in_weights(where, lambda weight: weight.fill_(float("nan")))(run)
        in_json("environment.json", backbone_fingerprint="fits")(run)

    message = loaded(change)
    assert "NaN or infinite" in message and "weight '" in message


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("adapter/adapter_model.safetensors", r"weight '.*' has (shape|type) .*, the model's has"),
        ("head.safetensors", r"head 'ctr' has other weights now than when the run was trained"),
    ],
)
@pytest.mark.parametrize(
    "change",
    [lambda weight: weight.half(), lambda weight: weight.int(), lambda weight: weight.T, lambda weight: weight[None]],
)
def test_weights_of_another_shape_or_type_are_refused(
    file: str, says: str, change: Callable[[torch.Tensor], torch.Tensor], loaded: Callable[..., str]
) -> None:
    assert re.search(says, loaded(in_weights(file, change)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: (run / "recipe.yaml").write_text("[]"), "does not hold the settings of a run"),
        (lambda run: (run / "recipe.yaml").write_text("name: x\ntrain: []\n"), "does not hold the settings of a run"),
        (lambda run: (run / "recipe.yaml").write_text(f"# {'x' * 2**18}\n"), "more than 262,144 bytes"),
        (in_recipe("extends", value="/etc/passwd"), "extends: the recipe of a run is whole"),
        (in_recipe("extends", value="quickstart"), "extends: the recipe of a run is whole"),
        (in_recipe("adapter", "r", value=10**7), "describes a model"),
        (in_recipe("adapter", "r", value=10**15), "does not fit"),
        (lambda run: shutil.rmtree(run / "backbone"), "it has no copy of backbone 'text'"),
    ],
)
def test_a_recipe_that_reaches_outside_or_explodes_is_refused(
    change: Callable[[Path], Any], says: str, loaded: Callable[..., str]
) -> None:
    assert says in loaded(change)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1e+09"),
        ({"num_hidden_layers": 150}, "describes a model with more weights"),
        ({"num_labels": 10**9}, "num_labels=1e+09"),
        ({"hidden_size": 10**12}, "hidden_size=1e+12"),
        ({"max_position_embeddings": 2**23}, "describes a model with more numbers"),
        ({"vocab_size": 10**400}, "vocab_size=1e+300"),
        ({"num_attention_heads": 0}, "cannot read"),
        ({"hidden_act": "nothing"}, "cannot read"),
        ({"model_type": ["bert"]}, "cannot read"),
        ({"text_config": {"n_layer": 10**9}}, "n_layer=1e+09"),
    ],
)
def test_a_configuration_that_its_weights_do_not_fill_is_refused(
    entries: dict[str, Any], says: str, loaded: Callable[..., str]
) -> None:
    assert says in loaded(in_json("backbone/config.json", **entries))


@pytest.mark.parametrize("shard", ["../head.safetensors", "/etc/passwd", "a/b.safetensors", "none.safetensors", 7])
def test_an_index_of_weights_names_files_of_the_folder_alone(shard: Any, loaded: Callable[..., str]) -> None:
    def change(run: Path) -> None:
        (run / "backbone/model.safetensors").rename(run / "backbone/other.safetensors")
        (run / "backbone/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))

    assert "which is no file in the folder" in loaded(change)


def test_pickles_are_not_read_instead_of_weights(loaded: Callable[..., str]) -> None:
    def change(run: Path) -> None:
        weights = load_file(run / "backbone/model.safetensors")
        torch.save(weights, run / "backbone/pytorch_model.bin")
        (run / "backbone/model.safetensors").unlink()

    assert "it has no weights in safetensors files" in loaded(change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda run: (run / "backbone/adapter_config.json").write_text("{}"),
            "adapter_config.json names another model",
        ),
        (in_json("backbone/tokenizer_config.json", vocab_file="/etc/passwd"), "names another file (vocab_file)"),
        (in_json("backbone/tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.json"]), "another file"),
        (
            in_json(
                "backbone/tokenizer.json", normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
            ),
            "which may never end",
        ),
    ],
)
def test_a_tokenizer_reads_its_own_folder_and_no_slow_pattern(
    change: Callable[[Path], Any], says: str, loaded: Callable[..., str]
) -> None:
    assert says in loaded(change)


FRAMED = {
    "type": "TemplateProcessing",
    "single": [*[{"SpecialToken": {"id": "X", "type_id": 0}}] * 99, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"X": {"id": "X", "ids": [2] * 99, "tokens": ["[CLS]"] * 99}},
}
"""Framed by 9,801 special tokens."""


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}}, "The tokenizer of the backbone cannot"),
        ({"model": {"type": "Unigram", "vocab": [["x", 0.0]], "unk_id": None}}, "cannot read the tokenizer"),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "cannot read the tokenizer"),
        ({"post_processor": FRAMED}, "9,801 special tokens leave none"),
    ],
)
def test_a_tokenizer_that_fails_on_texts_is_refused(
    entries: dict[str, Any], says: str, loaded: Callable[..., str]
) -> None:
    assert says in loaded(in_json("backbone/tokenizer.json", **entries), names_run=False)


@pytest.mark.parametrize("entry", ["attn_implementation", "_attn_implementation"])
def test_an_attention_that_is_code_of_the_hub_is_refused(entry: str, loaded: Callable[..., str]) -> None:
    change = in_json("backbone/config.json", **{entry: "someone/kernel"})
    assert "names an attention that is code of the hub (someone/kernel)" in loaded(change)


def huge(file: str) -> Callable[[Path], Any]:
    """Sets all weights of a file to a finite number with which nothing can be computed."""

    def change(run: Path) -> None:
        weights = load_file(run / file)
        save_file({name: torch.full_like(weight, 3e38) for name, weight in weights.items()}, run / file)

    return change


@pytest.mark.parametrize(("head", "ask"), [("ctr", "predict"), ("rating", "recommend"), ("next_item", "evaluate")])
@pytest.mark.parametrize(
    "change",
    [
        huge("head.safetensors"),
        huge("adapter/adapter_model.safetensors"),
        in_json("backbone/config.json", layer_norm_eps=float("nan")),
        in_json("backbone/config.json", layer_norm_eps=-1e300),
    ],
    ids=["head", "adapter", "nan", "infinite"],
)
def test_answers_that_are_not_finite_are_refused(
    change: Callable[[Path], Any], ask: str, head: str, copied_run: Callable[[str], Path]
) -> None:
    run = copied_run(head)
    change(run)
    write_checksums(run)
    asked = {
        "predict": lambda: load(run).predict(["i1"], [["i2", "i3"]], [[1.0, 1.0]]),
        "recommend": lambda: load(run).recommend([["i2", "i3"]], feedback=[[1.0, 1.0]]),
        "evaluate": lambda: evaluate(run),
    }
    with pytest.raises(LorarecError, match="answers NaN"):
        asked[ask]()


@pytest.mark.parametrize("ask", ["predict", "recommend"])
def test_vectors_whose_products_are_not_finite_are_refused(ask: str, copied_run: Callable[[str], Path]) -> None:
    run = copied_run("next_item")
    huge("item_vectors.safetensors")(run)
    write_checksums(run)
    recommender = load(run)
    with pytest.raises(ArtifactError, match="too large to be multiplied"):
        recommender.predict(["i1"], [["i2"]]) if ask == "predict" else recommender.recommend([["i2"]])
