from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from transformers import AutoModel

from lorarec.contracts import IncompatibleError
from lorarec.testing import FAMILIES, check_adapter, tiny_backbone, tiny_catalog, tiny_views
from lorarec_adapters.prefix import Prefix

TAKE_PAST = sorted(name for name, family in FAMILIES.items() if family.takes_past)
IGNORE_PAST = sorted(set(FAMILIES) - set(TAKE_PAST))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("model_type", TAKE_PAST)
@pytest.mark.parametrize("projection", [False, True])
def test_it_keeps_the_laws_under_both_kinds_of_attention(model_type: str, attention: str, projection: bool) -> None:
    check_adapter(Prefix, tiny_backbone(model_type, attention=attention), tokens=5, projection=projection)


@pytest.mark.parametrize("model_type", IGNORE_PAST)
def test_an_architecture_that_ignores_past_key_values_is_refused_by_name(model_type: str) -> None:
    with pytest.raises(IncompatibleError) as error:
        Prefix(Prefix.Config()).check(tiny_backbone(model_type).architecture())
    assert str(error.value) == (
        f"Adapter 'prefix' cannot attach to backbone 'tiny' ({model_type}): it takes no past key-values. "
        "Use lora, adalora, full or frozen."
    )


def test_more_virtual_tokens_than_the_context_allows_are_refused() -> None:
    architecture = tiny_backbone("bert").architecture()
    Prefix(Prefix.Config(tokens=31)).check(architecture)
    with pytest.raises(IncompatibleError, match=r"32 virtual tokens leave 8 of the 40 positions .* at most 31"):
        Prefix(Prefix.Config(tokens=32)).check(architecture)


@pytest.mark.parametrize("model_type", TAKE_PAST)
def test_the_longest_text_in_the_remaining_positions_fits(model_type: str, attach: Any) -> None:
    adapter, backbone, module = attach(Prefix, model_type, tokens=10)
    assert adapter.reserved_positions() == 10
    ids = torch.ones(2, 30, dtype=torch.int64)
    encoded = backbone.encode(module, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert encoded.pooled.isfinite().all()


@pytest.mark.parametrize("model_type", TAKE_PAST)
def test_padding_on_the_right_changes_nothing(model_type: str, attach: Any, train: Any) -> None:
    adapter, backbone, module = attach(Prefix, model_type, tokens=4)
    train(adapter, backbone, module, 4)
    module.eval()
    featurize = backbone.featurizer(tiny_catalog(), 30)
    with torch.no_grad():
        together = backbone.encode(module, featurize(tiny_views())).pooled
        alone = torch.cat([backbone.encode(module, featurize([view])).pooled for view in tiny_views()])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_a_bfloat16_backbone_runs_with_a_float32_prefix(model_type: str, projection: bool, attach: Any) -> None:
    _, _, module = attach(Prefix, model_type, "bfloat16", tokens=4)
    assert {p.dtype for p in module.parameters() if p.requires_grad} == {torch.float32}
    check_adapter(Prefix, tiny_backbone(model_type, "bfloat16"), tokens=4, projection=projection)


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_it_gets_gradients_under_autocast(model_type: str, attach: Any) -> None:
    _, backbone, module = attach(Prefix, model_type, tokens=4, projection=True)
    with torch.autocast("cpu", torch.bfloat16):
        encoded = backbone.encode(module, backbone.featurizer(tiny_catalog(), 30)(tiny_views()))
    encoded.pooled.sin().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("model_type", ["bert", "qwen3"])
def test_plain_peft_loads_the_folder(model_type: str, attach: Any, train: Any, read: Any, tmp_path: Path) -> None:
    adapter, backbone, module = attach(Prefix, model_type, tokens=4, projection=True, projection_hidden=7)
    train(adapter, backbone, module, 4)
    adapter.save(module, tmp_path / "adapter")
    plain = tiny_backbone(model_type).load(tiny_catalog(), 0)
    plain.save(plain.module, tmp_path / "checkpoint")
    pooler = {"add_pooling_layer": False} if model_type == "bert" else {}
    base = AutoModel.from_pretrained(tmp_path / "checkpoint", **pooler)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    assert torch.equal(read(backbone, loaded), read(backbone, module))


def test_merging_is_refused_with_the_reason(attach: Any) -> None:
    adapter, _, module = attach(Prefix, tokens=4)
    with pytest.raises(IncompatibleError, match="cannot be merged: it adds inputs"):
        adapter.merge(module)


def test_it_does_not_support_gradient_checkpointing() -> None:
    assert not Prefix.supports_gradient_checkpointing


@pytest.mark.parametrize("bad", [{"tokens": 0}, {"projection_hidden": 8}, {"token": 3}])
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Prefix.Config.model_validate(bad)
