from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel

from lorarec.contracts import IncompatibleError
from lorarec.testing import FAMILIES, check_adapter, tiny_backbone
from lorarec_adapters.frozen import Frozen
from lorarec_adapters.full import Full


def trainable(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


def test_every_weight_trains_by_default(attach: Any) -> None:
    _, _, module = attach(Full)
    assert all(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_with_layers_no_other_weight_trains(model_type: str, attach: Any) -> None:
    _, _, module = attach(Full, model_type, layers=[-1])
    names = trainable(module)
    assert names
    assert all("1" in name.split(".")[:4] for name in names)


def test_the_setting_embeddings_decides_whether_embedding_tables_train(attach: Any) -> None:
    tables = {f"embeddings.{n}_embeddings.weight" for n in ("word", "position", "token_type")}
    _, _, without = attach(Full, embeddings=False)
    assert {name for name, _ in without.named_parameters()} - trainable(without) == tables
    _, _, with_tables = attach(Full, layers=[-1], embeddings=True)
    assert trainable(with_tables) > tables


def test_a_bfloat16_backbone_trains_in_float32(attach: Any) -> None:
    _, _, module = attach(Full, "bert", "bfloat16")
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    check_adapter(Full, tiny_backbone("bert", "bfloat16"))


def test_only_trained_weights_are_saved_and_others_are_refused(attach: Any, loaded: Any, tmp_path: Path) -> None:
    adapter, _, module = attach(Full, layers=[-1])
    adapter.save(module, tmp_path)
    assert set(load_file(tmp_path / "weights.safetensors")) == trainable(module)
    with pytest.raises(IncompatibleError, match="its weights are not those of the model here"):
        Full(Full.Config(layers=[0])).restore(loaded(), tmp_path)


def test_a_weight_of_another_shape_is_refused(attach: Any, loaded: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    adapter, _, module = attach(Full)
    weights = {name: p.detach().clone() for name, p in module.named_parameters()}
    weights["embeddings.word_embeddings.weight"] = torch.zeros(65, 16)
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(IncompatibleError, match=r"has shape \(65, 16\), the model's has \(64, 16\)"):
        adapter.restore(loaded(), tmp_path)


def test_a_layer_that_does_not_exist_is_refused(attach: Any) -> None:
    with pytest.raises(IncompatibleError, match="has 2 layers"):
        attach(Full, layers=[5])


def test_merged_is_the_trained_model_as_transformers_loads_it(
    attach: Any, train: Any, read: Any, tmp_path: Path
) -> None:
    adapter, backbone, module = attach(Full)
    train(adapter, backbone, module, 2)
    expected = read(backbone, module)
    backbone.save(adapter.merge(module), tmp_path)
    assert torch.equal(read(backbone, AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)), expected)


def test_frozen_trains_nothing_and_writes_nothing(attach: Any, loaded: Any, read: Any, tmp_path: Path) -> None:
    adapter, backbone, module = attach(Frozen)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    adapter.save(module, tmp_path)
    assert not list(tmp_path.iterdir())
    assert torch.equal(read(backbone, adapter.restore(loaded(), tmp_path)), read(backbone, loaded().module))
    assert adapter.merge(module) is module
    check_adapter(Frozen, tiny_backbone())
