"""The backbone `text` over ten architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorarec.contracts import Catalog, View
from lorarec_backbones.pooling import pool
from lorarec_backbones.text import TextBackbone

Build = Callable[..., TextBackbone]
EXPECTED = {  # adaptable, takes past key-values, second feed-forward matrix, causal
    "bert": (("query", "value"), True, "0.output.dense", False),
    "roberta": (("query", "value"), True, "0.output.dense", False),
    "distilbert": (("q_lin", "v_lin"), False, "ffn.lin2", False),
    "modernbert": (("Wqkv",), False, "mlp.Wo", False),
    "deberta-v2": (("query_proj", "value_proj"), False, "0.output.dense", False),
    "mpnet": (("q", "v"), False, "output.dense", False),
    "gpt2": (("c_attn",), True, "mlp.c_proj", True),
    "llama": (("q_proj", "v_proj"), True, "mlp.down_proj", True),
    "qwen3": (("q_proj", "v_proj"), True, "mlp.down_proj", True),
    "gemma3": (("q_proj", "v_proj"), True, "mlp.down_proj", True),
}
TYPES = sorted(EXPECTED)


@pytest.mark.parametrize("model_type", TYPES)
def test_the_architecture_is_known_before_any_weight_is_read(text: Build, model_type: str) -> None:
    backbone = text(model_type)
    architecture = backbone.architecture()
    adaptable, takes_past, feedforward, _ = EXPECTED[model_type]
    assert (architecture.adaptable, architecture.takes_past) == (adaptable, takes_past)
    assert architecture.feedforward[0] == feedforward
    assert (architecture.layers, architecture.max_length, architecture.hidden_size) == (2, 128, 32)
    assert not hasattr(backbone, "module")


@pytest.mark.parametrize("model_type", TYPES)
def test_the_names_of_the_architecture_are_those_of_linear_layers_in_the_module(
    text: Build, catalog: Catalog, model_type: str
) -> None:
    backbone = text(model_type).load(catalog, 0)
    architecture = backbone.architecture()
    names = [name for name, part in backbone.module.named_modules() if hasattr(part, "weight")]
    for target in architecture.adaptable:
        matched = [name for name in names if name.endswith(f".{target}")]
        assert len(matched) == architecture.layers
        assert all("att" in name for name in matched)
    matched = [name for name in names if any(name.endswith(f".{target}") for target in architecture.feedforward)]
    assert len(matched) == architecture.layers
    assert not any("att" in name for name in matched)


@pytest.mark.parametrize("model_type", TYPES)
def test_the_vector_of_a_view_does_not_depend_on_the_rest_of_the_batch(
    text: Build, catalog: Catalog, views: list[View], model_type: str
) -> None:
    backbone = text(model_type).load(catalog, 0)
    backbone.module.eval()
    featurizer = backbone.featurizer(catalog, 128)
    with torch.no_grad():
        together = backbone.encode(backbone.module, featurizer(views))
        alone = torch.cat([backbone.encode(backbone.module, featurizer([view])).pooled for view in views])
    assert together.pooled.dtype == torch.float32
    assert together.states is None
    torch.testing.assert_close(together.pooled, alone, atol=1e-5, rtol=0)
    assert torch.pdist(alone).min() > 1e-3, "different views have the same vector"


def gradients(backbone: TextBackbone, catalog: Catalog, views: list[View]) -> dict[str, torch.Tensor | None]:
    """Of every weight, after one training pass with dropout."""
    backbone.module.train()
    torch.manual_seed(0)
    features = backbone.featurizer(catalog, 128)(views)
    backbone.encode(backbone.module, features).pooled.square().sum().backward()
    return {name: weight.grad for name, weight in backbone.module.named_parameters()}


@pytest.mark.parametrize("model_type", TYPES)
def test_every_weight_gets_a_gradient(text: Build, catalog: Catalog, views: list[View], model_type: str) -> None:
    computed = gradients(text(model_type).load(catalog, 0), catalog, views)
    assert [name for name, gradient in computed.items() if gradient is None] == [], "DDP would stop"


@pytest.mark.parametrize("model_type", [kind for kind in TYPES if kind != "mpnet"])
def test_recomputing_activations_changes_no_gradient(
    text: Build, catalog: Catalog, views: list[View], model_type: str
) -> None:
    backbone = text(model_type).load(catalog, 0)
    backbone.module.activation_checkpointing_enable({"use_reentrant": False})
    recomputed = gradients(backbone, catalog, views)
    plain = gradients(text(model_type).load(catalog, 0), catalog, views)
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("model_type", TYPES)
def test_pooling_is_by_mean_for_encoders_and_by_the_last_position_for_causal_models(
    text: Build, catalog: Catalog, views: list[View], model_type: str
) -> None:
    backbone = text(model_type).load(catalog, 0)
    backbone.module.eval()
    with torch.no_grad():
        features = backbone.featurizer(catalog, 128)(views)
        encoded = backbone.encode(backbone.module, features)
        hidden = backbone.module(**features).last_hidden_state
    expected = [
        states[mask][-1] if EXPECTED[model_type][3] else states[mask].mean(dim=0)
        for states, mask in zip(hidden, features["attention_mask"].bool(), strict=True)
    ]
    torch.testing.assert_close(encoded.pooled, torch.stack(expected), atol=1e-6, rtol=1e-5)


def test_padding_is_left_out_of_every_pooling() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [99.0]]])
    mask = torch.tensor([[True, True, False]])
    assert [pool(hidden, mask, how).item() for how in ("mean", "cls", "last")] == [2.0, 1.0, 3.0]


def test_normalized_vectors_have_length_one(text: Build, catalog: Catalog, views: list[View]) -> None:
    backbone = text(normalize=True).load(catalog, 0)
    encoded = backbone.encode(backbone.module, backbone.featurizer(catalog, 128)(views))
    torch.testing.assert_close(encoded.pooled.norm(dim=1), torch.ones(len(views)))


def test_a_half_precision_backbone_still_gives_float32_vectors(
    text: Build, catalog: Catalog, views: list[View]
) -> None:
    backbone = text(dtype="bfloat16").load(catalog, 0)
    assert {weight.dtype for weight in backbone.module.parameters()} == {torch.bfloat16}
    encoded = backbone.encode(backbone.module, backbone.featurizer(catalog, 128)(views))
    assert encoded.pooled.dtype == torch.float32


def test_a_saved_backbone_gives_the_same_features_and_vectors(
    text: Build, catalog: Catalog, views: list[View], tmp_path: Path
) -> None:
    first = text().load(catalog, 0)
    first.save(first.module, tmp_path)
    second = text("gpt2")
    second.load_from(tmp_path)
    second.load(catalog, 1)
    assert second.fingerprint() == first.fingerprint()
    features = [backbone.featurizer(catalog, 128)(views) for backbone in (first, second)]
    assert torch.equal(features[0]["input_ids"], features[1]["input_ids"])
    pooled = [b.encode(b.module.eval(), features[0]).pooled for b in (first, second)]
    assert torch.equal(pooled[0], pooled[1])


def test_the_fingerprint_is_of_the_weights_as_loaded(text: Build, catalog: Catalog) -> None:
    backbone = text().load(catalog, 0)
    before = backbone.fingerprint()
    with torch.no_grad():
        next(backbone.module.parameters()).add_(1.0)
    assert backbone.fingerprint() == before == text().load(catalog, 7).fingerprint()
    assert text("roberta").load(catalog, 0).fingerprint() != before
    assert text(dtype="bfloat16").load(catalog, 0).fingerprint() != before


def test_only_a_hub_id_at_a_commit_can_be_fetched_again(text: Build) -> None:
    def is_reproducible(**settings: str) -> bool:
        return TextBackbone(TextBackbone.Config(checkpoint="org/model", **settings)).is_reproducible()

    assert is_reproducible(revision="0123456789abcdef0123456789abcdef01234567")
    assert not is_reproducible(revision="main")
    assert not is_reproducible()
    assert not text(revision="0123456789abcdef0123456789abcdef01234567").is_reproducible()
