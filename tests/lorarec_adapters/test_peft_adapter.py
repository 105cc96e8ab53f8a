"""PeftAdapter: subclasses that only define `peft_config`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LNTuningConfig, LoraConfig, PeftConfig, PromptTuningConfig, VeraConfig
from torch import nn

from lorarec.contracts import Backbone, IncompatibleError, PeftAdapter, TrainingPlan
from lorarec.testing import FAMILIES, check_adapter, tiny_backbone
from lorarec_adapters.frozen import Frozen
from lorarec_adapters.full import Full
from lorarec_adapters.lora import Lora


class Vera(PeftAdapter):
    """A PEFT method as in a third-party plugin."""

    name = "vera"
    summary = "shared random projections, scaled by trained vectors"

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        return VeraConfig(r=8, d_initial=0.5)


class Norms(PeftAdapter):
    """A method that attaches to layers other than linear ones."""

    name = "norms"
    summary = "layer norms train"
    target_kinds = (nn.LayerNorm,)
    targets: Any = ["LayerNorm"]

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        return LNTuningConfig(target_modules=self.targets)


class Prompt(PeftAdapter):
    """A method without targets."""

    name = "prompt"
    summary = "trained embeddings before those of the text"

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        return PromptTuningConfig(num_virtual_tokens=3)

    def reserved_positions(self) -> int:
        return 3


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_a_method_of_peft_in_one_line_keeps_the_laws_on_every_architecture(model_type: str) -> None:
    check_adapter(Vera, tiny_backbone(model_type))


@pytest.mark.parametrize("adapter_class", [Norms, Prompt])
def test_methods_for_other_layers_or_without_layers_keep_the_laws(adapter_class: type[PeftAdapter]) -> None:
    check_adapter(adapter_class, tiny_backbone("bert"))


@pytest.mark.parametrize("model_type", ["mpnet", "distilbert", "modernbert"])
def test_default_targets_are_the_backbones_if_peft_has_none(model_type: str, attach: Any) -> None:
    _, backbone, module = attach(Vera, model_type)
    names = {name.rpartition(".")[2] for name in module.peft_config["default"].target_modules}
    assert names == set(backbone.architecture().adaptable)


def test_a_name_among_targets_that_matches_nothing_is_refused(attach: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Norms, "targets", ["LayerNorm", "LayerNrom"])
    with pytest.raises(IncompatibleError, match=r"target 'LayerNrom' matches no layer .* Did you mean 'LayerNorm'\?"):
        attach(Norms)
    monkeypatch.setattr(Norms, "targets", ".*LayerNorm")
    with pytest.raises(IncompatibleError, match="is a pattern; give a list of names"):
        attach(Norms)


def test_what_peft_refuses_is_refused_by_the_adapters_name(attach: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vera, "peft_config", lambda self, *given: VeraConfig(r=0))
    with pytest.raises(IncompatibleError, match=r"'vera' cannot attach to backbone 'tiny' \(bert\): ZeroDivisionError"):
        attach(Vera)


def test_a_method_that_cannot_be_merged_says_so(attach: Any) -> None:
    adapter, _, module = attach(Prompt)
    with pytest.raises(IncompatibleError, match="'prompt' cannot be merged: it adds inputs"):
        adapter.merge(module)


def _half_precision_layer(attach: Any, **options: Any) -> Any:
    _, _, module = attach(Lora, "bert", "bfloat16", r=2, **options)
    layer: Any = module.get_submodule("base_model.model.encoder.layer.0.attention.self.query")
    nn.init.normal_(layer.lora_B["default"].weight)
    return layer


def test_with_half_precision_weights_an_adapter_of_any_name_is_computed(attach: Any) -> None:
    layer = _half_precision_layer(attach)
    layer.update_layer("other", 2, lora_alpha=4, config=LoraConfig(r=2))
    nn.init.normal_(layer.lora_B["other"].weight)
    x = torch.randn(64, 16, dtype=torch.bfloat16)
    of_default = layer(x)
    layer.set_adapter("other")
    expected = type(layer).forward(layer, x)
    assert not torch.equal(layer(x), of_default)
    assert torch.allclose(layer(x).float(), expected.float(), atol=0.1)


def test_with_half_precision_weights_peft_itself_computes_adapters_that_are_not_plain(attach: Any) -> None:
    layer = _half_precision_layer(attach)
    x = torch.randn(4, 16, dtype=torch.bfloat16)
    mixed = layer(x, adapter_names=["default", "__base__", "default", "__base__"])
    assert torch.equal(mixed[1::2], layer.base_layer(x)[1::2])
    assert not torch.equal(mixed[::2], layer.base_layer(x)[::2])
    layer.update_layer("other", 2, lora_alpha=4, config=LoraConfig(r=2))
    nn.init.normal_(layer.lora_B["other"].weight)
    layer.set_adapter(["default", "other"])
    assert torch.equal(layer(x), type(layer).forward(layer, x))


def test_an_adapter_that_cannot_be_added_leaves_no_trace(attach: Any, tmp_path: Path) -> None:
    adapter, backbone, module = attach(Lora, r=2)
    vera, _, other = attach(Vera)
    vera.save(other, tmp_path)
    with pytest.raises(IncompatibleError, match=r"cannot be added to backbone 'tiny'.*peft_type is 'VERA', but"):
        adapter.add(module, backbone, tmp_path, "vera")
    with pytest.raises(IncompatibleError, match=r"There is no adapter 'vera' on this backbone. There are: 'default'"):
        adapter.active(module, "vera")
    with pytest.raises(IncompatibleError, match=r"\(bert\) already has an adapter. Use `add` for another one"):
        adapter.attach(backbone, TrainingPlan(1, 1, 0))


def test_weights_of_another_shape_are_named(attach: Any, tmp_path: Path) -> None:
    adapter, _, module = attach(Lora, r=2)
    adapter.save(module, tmp_path)
    larger, _, module = attach(Lora, r=4)
    with pytest.raises(IncompatibleError, match=r"lora_alpha is 4, but adapter 'lora' here has 8"):
        larger.warm_start(module, tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"r": 4, "lora_alpha": 8}))
    with pytest.raises(IncompatibleError, match=r"query\.lora_A\.weight' has shape \(2, 16\), .* has \(4, 16\)"):
        larger.warm_start(module, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("target_modules", "(a+)+$"),
        ("layers_pattern", "(a+)+$"),
        ("exclude_modules", "(a+)+$"),
        ("rank_pattern", {"(a+)+$": 4}),
        ("layer_replication", [[0, 10**9]]),
        ("modules_to_save", ["embeddings"]),
        ("trainable_token_indices", list(range(1000))),
        ("target_parameters", ["query.weight"]),
        ("r", 10**9),
        ("r", "2"),
        ("loftq_config", {"a": 1}),
        ("init_lora_weights", "pissa"),
        ("megatron_core", "os"),
        ("peft_type", "XLORA"),
    ],
)
def test_a_configuration_that_its_settings_do_not_give_is_refused(
    entry: str, value: Any, attach: Any, loaded: Any, tmp_path: Path
) -> None:
    adapter, _, module = attach(Lora, r=2)
    adapter.save(module, tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {entry: value}))
    with pytest.raises(IncompatibleError, match=rf"adapter_config\.json: {entry} is .*, but adapter 'lora' here has"):
        adapter.restore(loaded(), tmp_path)


def test_entries_that_do_not_follow_from_the_settings_are_not_read(
    attach: Any, loaded: Any, read: Any, tmp_path: Path
) -> None:
    adapter, backbone, module = attach(Lora, r=2)
    adapter.save(module, tmp_path)
    file = tmp_path / "adapter_config.json"
    elsewhere = {"base_model_name_or_path": "/etc", "auto_mapping": {"parent_library": "os"}, "runtime_config": {}}
    file.write_text(json.dumps(json.loads(file.read_text()) | elsewhere))
    fresh = loaded()
    assert torch.equal(read(fresh, adapter.restore(fresh, tmp_path)), read(backbone, module.eval()))


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, None])
def test_a_configuration_that_cannot_be_read_is_refused(
    content: str | None, attach: Any, loaded: Any, tmp_path: Path
) -> None:
    adapter, _, module = attach(Lora, r=2)
    adapter.save(module, tmp_path)
    file = tmp_path / "adapter_config.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(IncompatibleError, match=r"adapter_config\.json: (cannot be read|holds no settings)"):
        adapter.restore(loaded(), tmp_path)


def test_full_and_frozen_refuse_a_second_adapter(attach: Any, tmp_path: Path) -> None:
    for adapter_class in (Full, Frozen):
        adapter, backbone, module = attach(adapter_class)
        with pytest.raises(IncompatibleError, match="a backbone can have only one, so 'second' cannot be added"):
            adapter.add(module, backbone, tmp_path, "second")
    with pytest.raises(
        IncompatibleError, match="'full' cannot be disabled: the backbone's original weights are not kept"
    ):
        attach(Full)[0].disabled(module)


@pytest.mark.parametrize("reads", [True, False])
def test_under_gradient_checkpointing_other_adapters_are_used_without_gradient(reads: bool, loaded: Any) -> None:
    backbone, adapter = loaded(), Lora(Lora.Config())
    backbone.module.activation_checkpointing_enable({"use_reentrant": False})
    module = adapter.attach(backbone, TrainingPlan(1, 1, 0)).train()
    if reads:
        with torch.no_grad(), adapter.disabled(module):
            return
    with pytest.raises(IncompatibleError, match=r"can be used only under torch\.no_grad\(\)"), adapter.disabled(module):
        pass
