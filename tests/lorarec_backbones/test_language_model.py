"""Logits of named tokens equal those of the language model, and only a language model computes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lorarec.contracts import Catalog, IncompatibleError, LorarecError, TrainingPlan, View
from lorarec_adapters.lora import Lora
from lorarec_backbones.text import TextBackbone

TOKENS = ["a", "e", "o"]


@pytest.fixture
def decoder(tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[..., tuple[TextBackbone, Any]]:
    """A decoder with output embeddings, tied or not, as a backbone and as transformers' own model."""

    def make(model_type: str, tied: bool) -> tuple[TextBackbone, Any]:
        plain = tiny_checkpoint(model_type)
        config = transformers.AutoConfig.from_pretrained(plain)
        config.tie_word_embeddings = tied
        torch.manual_seed(0)
        whole = transformers.AutoModelForCausalLM.from_config(config).eval()
        whole.save_pretrained(tmp_path / "whole")
        transformers.AutoTokenizer.from_pretrained(plain).save_pretrained(tmp_path / "whole")
        return TextBackbone(TextBackbone.Config(checkpoint=str(tmp_path / "whole"), language_model=True)), whole

    return make


@pytest.mark.parametrize(("model_type", "tied"), [("llama", False), ("llama", True), ("gpt2", True), ("qwen3", False)])
def test_they_equal_those_of_transformers_for_the_named_tokens(
    model_type: str, tied: bool, decoder: Any, catalog: Catalog, views: list[View], tmp_path: Path
) -> None:
    backbone, whole = decoder(model_type, tied)
    backbone.load(catalog, 0)
    features = backbone.featurizer(catalog, 128)(views)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "whole")
    ids = [tokenizer(token, add_special_tokens=False)["input_ids"][0] for token in TOKENS]
    last = features["attention_mask"].sum(dim=1) - 1
    with torch.no_grad():
        expected = whole(**features).logits[torch.arange(len(views)), last][:, ids]
        logits = backbone.logits(backbone.module.eval(), features, TOKENS)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_copy_and_an_untrained_adapter_give_the_same_logits(
    tied: bool, decoder: Any, catalog: Catalog, views: list[View], tmp_path: Path
) -> None:
    backbone, _ = decoder("llama", tied)
    backbone.load(catalog, 0)
    features = backbone.featurizer(catalog, 128)(views)
    with torch.no_grad():
        expected = backbone.logits(backbone.module.eval(), features, TOKENS)
        backbone.save(backbone.module, tmp_path / "copy")
        copied = TextBackbone(backbone.config)
        copied.load_from(tmp_path / "copy")
        copied.load(catalog, 0)
        assert copied.fingerprint() == backbone.fingerprint()
        assert torch.equal(copied.logits(copied.module.eval(), features, TOKENS), expected)
        module = Lora(Lora.Config(targets="all-linear")).attach(backbone, TrainingPlan(1, 1, 0)).eval()
        assert torch.equal(backbone.logits(module, features, TOKENS), expected)
    assert not any("output" in name for name, weight in module.named_parameters() if weight.requires_grad)


def test_a_backbone_without_logits_says_which_setting_enables_them(text: Any, decoder: Any, catalog: Catalog) -> None:
    plain = text("llama").load(catalog, 0)
    with pytest.raises(IncompatibleError, match=r"Set backbone\.language_model=true, with a decoder"):
        plain.logits(plain.module, {}, ["a"])
    with pytest.raises(LorarecError, match=r"\(bert\) is an encoder, which has no next token"):
        text("bert", language_model=True).architecture()
    with pytest.raises(LorarecError, match="lacks 1 weights of LlamaForCausalLM"):
        text("llama", language_model=True).load(catalog, 0)
    backbone, _ = decoder("llama", True)
    with pytest.raises(IncompatibleError, match=re.escape("'Quick Fox' is not one token of")):
        backbone.load(catalog, 0).logits(backbone.module, {}, ["Quick Fox"])
