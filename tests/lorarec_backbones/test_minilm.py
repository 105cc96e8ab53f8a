"""The backbone `minilm`, with its real weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lorarec.contracts import Catalog, LorarecError, View
from lorarec_backbones import minilm
from lorarec_backbones.minilm import MiniLMBackbone

installed = pytest.mark.skipif(minilm.find_spec(minilm.PACKAGE) is None, reason="needs `pip install lorarec[offline]`")


@installed
def test_similarities_are_those_that_its_authors_published(make: Callable[..., Catalog]) -> None:
    """The example of the model card that the hub's inference widget shows."""
    catalog = make(["That is a happy person", "That is a happy dog", "Today is a sunny day"])
    backbone = MiniLMBackbone(MiniLMBackbone.Config(normalize=True)).load(catalog, 0)
    backbone.module.eval()
    features = backbone.featurizer(catalog, 128)([View(candidate=row) for row in range(3)])
    with torch.no_grad():
        vectors = backbone.encode(backbone.module, features).pooled
    assert (vectors[1:] @ vectors[0]).tolist() == pytest.approx([0.6945, 0.2568], abs=5e-3)


@installed
def test_its_architecture_is_known_without_reading_weights() -> None:
    backbone = MiniLMBackbone(MiniLMBackbone.Config())
    architecture = backbone.architecture()
    assert (architecture.backbone, architecture.model_type, architecture.takes_past) == ("minilm", "bert", True)
    assert (architecture.layers, architecture.max_length, architecture.hidden_size) == (6, 512, 384)
    assert backbone.is_reproducible()
    assert not hasattr(backbone, "module")


@installed
def test_weights_that_are_not_the_published_ones_are_refused(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(LorarecError, match=r"model\.safetensors .* is not the published file"):
        MiniLMBackbone(MiniLMBackbone.Config()).load(catalog, 0)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    with pytest.raises(LorarecError, match=r"pip install lorarec\[offline\]"):
        MiniLMBackbone(MiniLMBackbone.Config()).architecture()
