from __future__ import annotations

import copy
from importlib.metadata import entry_points

import pytest
import torch
from torch import Tensor, nn

from lorarec.contracts import IncompatibleError, TrainingPlan, TrainState
from lorarec.testing import FAMILIES, check_adapter, tiny_backbone, tiny_catalog, tiny_views
from lorarec_ia3.adapter import Ia3

PLAN = TrainingPlan(total_steps=4, epochs=1, seed=0)


def attached(model_type: str, **options: list[str]) -> tuple[Ia3, nn.Module]:
    adapter = Ia3(Ia3.Config.model_validate(options))
    return adapter, adapter.attach(tiny_backbone(model_type).load(tiny_catalog(), 0), PLAN)


def read(model_type: str, module: nn.Module) -> Tensor:
    backbone = tiny_backbone(model_type)
    with torch.no_grad():
        return backbone.encode(module, backbone.featurizer(tiny_catalog(), 30)(tiny_views())).pooled


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_it_keeps_the_laws_of_adapters_on_every_architecture(model_type: str) -> None:
    check_adapter(Ia3, tiny_backbone(model_type))


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_the_untrained_model_is_the_frozen_one(model_type: str) -> None:
    frozen = tiny_backbone(model_type).load(tiny_catalog(), 0).module
    assert torch.equal(read(model_type, attached(model_type)[1].eval()), read(model_type, frozen))


def test_a_key_is_multiplied_by_its_factor_as_in_the_paper() -> None:
    _, module = attached("llama")
    factors = dict(module.named_parameters())["base_model.model.layers.0.self_attn.k_proj.ia3_l.default"]
    layer = module.get_submodule("base_model.model.layers.0.self_attn.k_proj")
    x = torch.randn(3, 16)
    with torch.no_grad():
        plain = layer(x)
        factors.copy_(torch.arange(8.0).unsqueeze(1))
        assert torch.allclose(layer(x), plain * torch.arange(8.0))


def test_each_block_has_factors_for_key_value_and_feed_forward() -> None:
    _, module = attached("bert")
    names = [name.split(".")[-3] for name, p in module.named_parameters() if p.requires_grad]
    assert names == ["key", "value", "dense"] * 2


@pytest.mark.parametrize("model_type", ["gpt2", "modernbert"])
def test_in_fused_projections_the_query_is_not_rescaled(model_type: str) -> None:
    adapter, module = attached(model_type)
    fused = [p for name, p in module.named_parameters() if p.requires_grad and len(p) == 48]
    assert len(fused) == 2
    with torch.no_grad():
        for factors in fused:
            factors.add_(0.5)
    for callback in adapter.callbacks(module):
        callback.on_optimizer_step(TrainState())
    for factors in fused:
        assert factors[:16].eq(1.0).all()
        assert factors[16:].eq(1.5).all()


def test_a_bfloat16_backbone_gets_float32_factors() -> None:
    adapter = Ia3(Ia3.Config())
    module = adapter.attach(tiny_backbone("bert", "bfloat16").load(tiny_catalog(), 0), PLAN)
    assert {p.dtype for p in module.parameters() if p.requires_grad} == {torch.float32}
    check_adapter(Ia3, tiny_backbone("bert", "bfloat16"))


def test_a_misspelled_layer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(IncompatibleError, match=r"attention 'valeu' matches no linear layer .* Did you mean 'value'\?"):
        attached("bert", attention=["key", "valeu"])


def test_a_backbone_without_feed_forward_layers_is_refused_before_weights_are_loaded() -> None:
    architecture = tiny_backbone("bert").architecture()
    bare = copy.copy(architecture)
    object.__setattr__(bare, "feedforward", ())
    with pytest.raises(IncompatibleError, match="names no feed-forward layers"):
        Ia3(Ia3.Config()).check(bare)


def test_installing_the_package_registers_the_adapter() -> None:
    points = entry_points(group="lorarec", name="ia3")
    if not points:
        pytest.skip("lorarec-ia3 is not installed here: pip install ./plugins/lorarec-ia3")
    (point,) = points
    assert list(point.load().lorarec_adapters()) == [Ia3]
