"""Token ids outside of the embedding are refused by name, or replaced with a note; never an IndexError."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lorarec.contracts import Catalog, LorarecError, View
from lorarec.pipeline.check import check
from lorarec_backbones.text import TextBackbone

Edit = Callable[[Path], None]
TEMPLATE = [{"Sequence": {"id": "A", "type_id": 0}}]
SPECIAL = [{"SpecialToken": {"id": "[X]", "type_id": 0}}]
PAIR = [*TEMPLATE, {"Sequence": {"id": "B", "type_id": 0}}]


def configured(**values: Any) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return edit


def framed(single: Any, pair: Any = PAIR, token: int = 9999) -> Edit:
    """Another frame of special tokens around a text."""

    def edit(folder: Path) -> None:
        file = folder / "tokenizer.json"
        frame = {"type": "TemplateProcessing", "single": single, "pair": pair}
        frame["special_tokens"] = {"[X]": {"id": "[X]", "ids": [token], "tokens": ["[X]"]}}
        file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": frame}))

    return edit


def added(**tokens: str) -> Edit:
    """Special tokens, or one `word`, that the tokenizer gets and the embedding does not."""

    def edit(folder: Path) -> None:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        if "word" in tokens:
            tokenizer.add_tokens([tokens["word"]])
        else:
            tokenizer.add_special_tokens(tokens)
        tokenizer.save_pretrained(folder)

    return edit


@pytest.fixture
def edited(tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[..., TextBackbone]:
    def build(model_type: str, edit: Edit, **settings: Any) -> TextBackbone:
        shutil.copytree(tiny_checkpoint(model_type), tmp_path / "edited")
        edit(tmp_path / "edited")
        return TextBackbone(TextBackbone.Config(checkpoint=str(tmp_path / "edited"), max_length=32, **settings))

    return build


def encoded(backbone: TextBackbone, catalog: Catalog, views: list[View]) -> tuple[torch.Tensor, list[str]]:
    """Vectors of padded views, and the notes."""
    backbone.load(catalog, 0)
    featurizer = backbone.featurizer(catalog, 32)
    with torch.no_grad():
        return backbone.encode(backbone.module.eval(), featurizer(views)).pooled, featurizer.notes()


@pytest.mark.parametrize(
    ("model_type", "edit", "note"),
    [
        ("llama", added(pad_token="[NEW]"), "the tokenizer's padding '[NEW]' is 300, which the encoder's embedding of"),
        (
            "llama",
            configured(pad_token_id=-1),
            "config.json's pad_token_id is -1, which the encoder's embedding of 300",
        ),
        ("bert", added(pad_token="[NEW]"), "the tokenizer's padding '[NEW]' is"),
        ("roberta", configured(pad_token_id=-1), "config.json's pad_token_id is -1"),
        ("gpt2", configured(pad_token_id=9999), "config.json's pad_token_id is 9999"),
    ],
)
def test_a_padding_outside_of_the_embedding_is_replaced_with_a_note_and_changes_no_vector(
    model_type: str, edit: Edit, note: str, text: Any, edited: Any, catalog: Catalog, views: list[View]
) -> None:
    vectors, notes = encoded(edited(model_type, edit), catalog, views)
    plain, silent = encoded(text(model_type, max_length=32), catalog, views)
    assert len(notes) == 1 and notes[0].startswith(note)
    assert not silent
    if model_type != "roberta":  # which counts positions from the padding
        torch.testing.assert_close(vectors, plain, atol=1e-6, rtol=1e-5)
    assert vectors.isfinite().all()


@pytest.mark.parametrize(
    ("model_type", "edit", "message"),
    [
        (
            "llama",
            configured(pad_token_id=9999),
            "the padding has the id 9999 in its config.json, but the embedding has",
        ),
        ("bert", configured(pad_token_id="0"), "cannot read the configuration of .*pad_token_id"),
        ("roberta", configured(pad_token_id=None), r"\(roberta\) cannot read a text: .* has pad_token_id None"),
        (
            "bert",
            framed([*SPECIAL, *TEMPLATE]),
            "the start token has the id 9999, but the encoder's embedding has only",
        ),
        ("bert", framed([*TEMPLATE, *SPECIAL]), "the end token has the id 9999"),
        (
            "bert",
            framed(TEMPLATE, [*TEMPLATE, *SPECIAL, PAIR[1]]),
            "a separator or a token of backbone.templates has the",
        ),
        (
            "llama",
            added(word="lamp"),
            "a token of the items, 'lamp', has the id 300, but the encoder's embedding has only 300",
        ),
        (
            "bert",
            configured(vocab_size=400),
            r"the weight 'embeddings.word_embeddings.weight' has the sizes \[\d+, 32\]",
        ),
        ("bert", configured(type_vocab_size=0), "the weight 'embeddings.token_type_embeddings.weight' has the sizes"),
        ("bert", configured(vocab_size=0), "cannot read the architecture of"),
        ("bert", configured(max_position_embeddings=16), "backbone.max_length 32 is more than the 16 positions"),
        ("roberta", configured(max_position_embeddings=16), "backbone.max_length 32 is more than the 15 positions"),
    ],
)
def test_what_does_not_fit_the_embedding_is_refused_by_name(
    model_type: str, edit: Edit, message: str, edited: Any, catalog: Catalog, views: list[View]
) -> None:
    with pytest.raises(LorarecError, match=message) as refused:
        encoded(edited(model_type, edit), catalog, views)
    assert len(str(refused.value)) < 600 and "\n" not in str(refused.value)


def test_a_token_that_only_a_users_text_may_have_is_refused_where_templates_name_users(
    edited: Any, catalog: Catalog
) -> None:
    backbone = edited("llama", added(word="zebra"), templates={"history": "{user.note} {history}"})
    with pytest.raises(LorarecError, match=re.escape("a token that users' texts may have, 'zebra', has the id 300")):
        backbone.featurizer(catalog, 32)


def test_special_tokens_that_no_text_gets_may_lie_outside(edited: Any, catalog: Catalog, views: list[View]) -> None:
    edit = configured(bos_token_id=9999, eos_token_id=[3, 9999], mask_token_id=9999)
    assert encoded(edited("llama", edit), catalog, views)[1] == []


def test_check_says_last_what_texts_are_padded_with(edited: Any) -> None:
    backbone = edited("llama", configured(pad_token_id=-1))
    recipe = {
        "name": "padding",
        "data": {
            "source": {"name": "synthetic", "users": 12, "items": 40, "events": 120},
            "split": {"by": "time", "validation": 0.15, "test": 0.15},
        },
        "backbone": {"name": "text", "checkpoint": backbone.config.checkpoint, "max_length": 32},
        "adapter": "frozen",
        "head": "ctr",
        "train": {"epochs": 1},
    }
    lines = check(recipe).lines()
    assert lines[-1].startswith(
        "Note: config.json's pad_token_id is -1, which the encoder's embedding of 300 tokens does"
    )
    assert "\n".join(lines).count("pad_token_id") == 1
