from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from torch import nn
from transformers import AutoModel

from lorarec.contracts import IncompatibleError, TrainingPlan
from lorarec.contracts.peft_internals import peft_name
from lorarec.testing import FAMILIES, check_adapter, tiny_backbone, tiny_catalog, tiny_views
from lorarec_adapters.lora import Lora


def targeted(module: nn.Module) -> list[str]:
    end = ".lora_A.default.weight"
    return [
        n.removeprefix("base_model.model.").removesuffix(end) for n, _ in module.named_parameters() if n.endswith(end)
    ]


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_the_untrained_model_is_the_frozen_one(model_type: str, attach: Any, loaded: Any, read: Any) -> None:
    _, backbone, module = attach(Lora, model_type)
    assert torch.equal(read(backbone, module), read(backbone, loaded(model_type).module))


def test_the_update_is_the_papers_formula(attach: Any) -> None:
    _, _, module = attach(Lora, r=2, alpha=6.0)
    layer: Any = module.get_submodule("base_model.model.encoder.layer.0.attention.self.query")
    nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(5, 16)
    update = 6.0 / 2 * x @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T
    assert torch.allclose(layer(x), layer.base_layer(x) + update, atol=1e-6)


def test_rslora_scales_by_the_root_of_the_rank(attach: Any) -> None:
    _, _, module = attach(Lora, r=4, alpha=8.0, rslora=True)
    layer: Any = module.get_submodule("base_model.model.encoder.layer.0.attention.self.query")
    assert layer.scaling["default"] == 8.0 / math.sqrt(4)


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_dora_starts_at_the_frozen_model_and_keeps_the_laws(
    model_type: str, attach: Any, loaded: Any, read: Any
) -> None:
    _, backbone, module = attach(Lora, model_type, dora=True)
    assert torch.allclose(read(backbone, module), read(backbone, loaded(model_type).module), atol=1e-5)
    check_adapter(Lora, tiny_backbone(model_type), dora=True)


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_a_bfloat16_backbone_gets_float32_adapter_weights(model_type: str, attach: Any) -> None:
    _, _, module = attach(Lora, model_type, "bfloat16")
    assert {p.dtype for p in module.parameters() if p.requires_grad} == {torch.float32}
    check_adapter(Lora, tiny_backbone(model_type, "bfloat16"))


def test_a_misspelled_target_is_refused_even_if_another_matches(attach: Any) -> None:
    with pytest.raises(IncompatibleError) as error:
        attach(Lora, targets=["value", "qurey"])
    assert str(error.value) == (
        "Adapter 'lora': target 'qurey' matches no linear layer of backbone 'tiny' (bert). Did you mean "
        "'query'? "
        "There are: dense, key, query, value."
    )


def test_a_target_must_end_at_a_whole_name(attach: Any) -> None:
    with pytest.raises(IncompatibleError, match="'uery' matches no linear layer"):
        attach(Lora, targets=["uery"])


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_layers_chooses_blocks_on_every_architecture(model_type: str, attach: Any) -> None:
    _, _, module = attach(Lora, model_type, layers=[-1])
    names = targeted(module)
    assert len(names) == len(FAMILIES[model_type].adaptable)
    assert all("1" in name.split(".") and "0" not in name.split(".") for name in names)


def test_a_layer_that_does_not_exist_is_refused(attach: Any) -> None:
    with pytest.raises(IncompatibleError, match=r"has 2 layers: 0 to 1, or -1 for the last"):
        attach(Lora, layers=[2])


def test_all_linear_adapts_every_linear_layer(attach: Any) -> None:
    _, _, module = attach(Lora, targets="all-linear")
    assert len(targeted(module)) == 2 * 6


def test_rank_pattern_changes_the_rank_of_the_layers_it_names(attach: Any) -> None:
    _, _, module = attach(Lora, r=4, rank_pattern={"0.attention.self.value": 7})
    ranks = {n: p.shape[0] for n, p in module.named_parameters() if ".lora_A." in n}
    assert [rank for name, rank in ranks.items() if "layer.0" in name and "value" in name] == [7]
    assert sorted(ranks.values()) == [4, 4, 4, 7]


def test_a_rank_pattern_that_matches_nothing_or_twice_is_refused(attach: Any) -> None:
    with pytest.raises(IncompatibleError, match=r"rank_pattern key 'valeu' matches no .* Did you mean 'value'\?"):
        attach(Lora, rank_pattern={"valeu": 7})
    with pytest.raises(IncompatibleError, match=r"both match 'encoder.layer.0.attention.self.value'"):
        attach(Lora, rank_pattern={"value": 7, "0.attention.self.value": 3})


def test_lora_plus_scales_the_learning_rate_of_b_only() -> None:
    adapter = Lora(Lora.Config(lora_plus_ratio=16))
    assert adapter.learning_rate_scale("base_model.model.h.0.q.lora_B.default.weight") == 16
    assert adapter.learning_rate_scale("base_model.model.h.0.q.lora_A.default.weight") == 1


def test_a_backbone_without_default_targets_asks_for_some() -> None:
    architecture = tiny_backbone("bert").architecture()
    object.__setattr__(architecture, "adaptable", ())
    with pytest.raises(IncompatibleError, match="has no default targets"):
        Lora(Lora.Config()).check(architecture)
    Lora(Lora.Config(targets=["query"])).check(architecture)


@pytest.mark.parametrize(
    "bad", [{"r": 0}, {"dropout": 1.0}, {"alpha": 0}, {"init": "pissa"}, {"layers": []}, {"alhpa": 1}]
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Lora.Config.model_validate(bad)


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_plain_peft_loads_the_folder_on_the_plain_checkpoint(
    model_type: str, attach: Any, train: Any, read: Any, tmp_path: Path
) -> None:
    adapter, backbone, module = attach(Lora, model_type)
    train(adapter, backbone, module, 4)
    (tmp_path / "adapter").mkdir()
    adapter.save(module, tmp_path / "adapter")
    plain = tiny_backbone(model_type).load(tiny_catalog(), 0)
    plain.save(plain.module, tmp_path / "checkpoint")
    pooler = {"add_pooling_layer": False} if model_type == "bert" else {}
    base = AutoModel.from_pretrained(tmp_path / "checkpoint", **pooler)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    assert torch.equal(read(backbone, loaded), read(backbone, module))


def test_saving_sends_no_request_and_writes_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = Lora(Lora.Config())
    backbone = tiny_backbone().load(tiny_catalog(), 0)
    backbone.module.name_or_path = "some-owner/some-model"  # type: ignore[assignment]
    module = adapter.attach(backbone, TrainingPlan(10, 1, 0))

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("sent a request to the hub")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", refuse)
    adapter.save(module, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "some-owner/some-model"


def test_an_adapter_of_another_shape_is_refused(attach: Any, loaded: Any, tmp_path: Path) -> None:
    adapter, _, module = attach(Lora, "bert")
    adapter.save(module, tmp_path)
    with pytest.raises(IncompatibleError, match=r"target_modules is .*, but adapter 'lora' here has"):
        adapter.restore(loaded("llama"), tmp_path)


def test_a_file_with_missing_weights_is_refused(attach: Any, loaded: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter, _, module = attach(Lora)
    adapter.save(module, tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(next(iter(weights)))
    save_file(weights, file)
    with pytest.raises(IncompatibleError, match="its weights are not those of the model here"):
        adapter.restore(loaded(), tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merged_is_a_plain_transformers_model_in_float32(
    dtype: str, attach: Any, train: Any, read: Any, tmp_path: Path
) -> None:
    adapter, backbone, module = attach(Lora, "bert", dtype)
    train(adapter, backbone, module, 4)
    expected = read(backbone, module.float())
    merged = adapter.merge(module)
    backbone.save(merged, tmp_path)
    plain = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert plain.dtype == torch.float32
    assert torch.allclose(read(backbone, plain), expected, atol=1e-5)


def test_it_trains_under_gradient_checkpointing_as_without(attach: Any, train: Any, loaded: Any) -> None:
    weights = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone, adapter = loaded(), Lora(Lora.Config())
        if checkpointing:
            backbone.module.activation_checkpointing_enable({"use_reentrant": False})
        module = adapter.attach(backbone, TrainingPlan(10, 1, 0))
        torch.manual_seed(3)
        train(adapter, backbone, module, 3)
        weights.append([p.detach() for p in module.parameters() if p.requires_grad])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_with_half_precision_weights_the_update_is_the_formula_up_to_their_rounding(
    model_type: str, half: str, attach: Any
) -> None:
    """Outputs and gradients are compared with those of PEFT's own forward, which casts inputs up to float32."""
    rounding = 4 * torch.finfo(getattr(torch, half)).eps
    results = []
    for plain in (False, True):
        torch.manual_seed(0)
        _, backbone, module = attach(Lora, model_type, half, r=4)
        for layer in (part for part in module.modules() if hasattr(part, "lora_B")):
            nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
            if plain:
                del layer.forward
        features = backbone.featurizer(tiny_catalog(), 30)(tiny_views())
        vectors = backbone.encode(module, features).pooled
        (vectors * torch.linspace(-1, 1, vectors.numel()).reshape(vectors.shape)).sum().backward()
        results.append((vectors.detach(), [p.grad for p in module.parameters() if p.requires_grad]))
    (ours, our_gradients), (theirs, their_gradients) = results
    assert not torch.equal(our_gradients[0], their_gradients[0]), "the two must be different computations"
    assert float((ours - theirs).norm() / theirs.norm()) < rounding
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - other).norm() / other.norm()) < 4 * rounding


def test_with_a_disabled_adapter_only_the_base_layer_is_computed(attach: Any) -> None:
    _, _, module = attach(Lora, "bert", "bfloat16", r=2)
    layer: Any = module.get_submodule("base_model.model.encoder.layer.0.attention.self.query")
    nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(5, 16, dtype=torch.bfloat16)
    with module.disable_adapter():
        assert torch.equal(layer(x), layer.base_layer(x))
    assert not torch.equal(layer(x), layer.base_layer(x))


@pytest.mark.parametrize("options", [{"dora": True}, {"dropout": 0.5}])
def test_dora_and_dropout_work_with_half_precision_weights(options: Any, attach: Any) -> None:
    _, _, module = attach(Lora, "bert", "bfloat16", **options)
    layer: Any = module.get_submodule("base_model.model.encoder.layer.0.attention.self.query")
    nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(64, 16, dtype=torch.bfloat16)
    module.train()
    assert torch.equal(layer(x), layer(x)) == ("dropout" not in options)
    check_adapter(Lora, tiny_backbone("bert", "bfloat16"), **options)


@pytest.fixture
def two_named(attach: Any, read: Any, tmp_path: Path) -> Any:
    """A half-precision backbone with the adapters "one" and "two", and what each of them gives alone."""
    expected, adapters = {}, {}
    for seed, name in enumerate(("one", "two")):
        adapter, backbone, module = attach(Lora, "bert", "bfloat16", r=2 + seed)
        adapters[name] = adapter
        torch.manual_seed(seed)
        for layer in (part for part in module.modules() if hasattr(part, "lora_B")):
            nn.init.normal_(layer.lora_B["default"].weight)
        (tmp_path / name).mkdir()
        adapter.save(module, tmp_path / name)
        expected[name] = read(backbone, module)
    backbone = tiny_backbone("bert", "bfloat16").load(tiny_catalog(), 0)
    module = adapters["one"].restore(backbone, tmp_path / "one", "one")
    adapters["two"].add(module, backbone, tmp_path / "two", "two")
    return adapter, backbone, module, expected


def test_a_half_precision_adapter_gives_the_same_numbers_under_any_name(two_named: Any, read: Any) -> None:
    adapter, backbone, module, expected = two_named
    for name in ("one", "two", "one"):
        with adapter.active(module, name):
            assert torch.equal(read(backbone, module), expected[name])
    assert not torch.allclose(expected["one"], expected["two"], atol=0.05)


def test_adapter_names_choose_the_adapter_of_each_row_in_half_precision(two_named: Any) -> None:
    _, backbone, module, expected = two_named
    features = backbone.featurizer(tiny_catalog(), 30)(tiny_views())
    names = [("one", "two")[row % 2] for row in range(len(tiny_views()))]
    with torch.no_grad():
        states = module(**features, adapter_names=[peft_name(name) for name in names]).last_hidden_state
    mask = features["attention_mask"].unsqueeze(-1).float()
    vectors = (states.float() * mask).sum(1) / mask.sum(1)
    rows = torch.stack([expected[name][row] for row, name in enumerate(names)])
    torch.testing.assert_close(vectors, rows, atol=0.05, rtol=0.05)  # PEFT multiplies a mixed batch in float32


def test_two_half_precision_adapters_active_at_once_are_summed(two_named: Any) -> None:
    _, _, module, _ = two_named
    layer: Any = module.get_submodule("base_model.model.encoder.layer.0.attention.self.query")
    x = torch.randn(5, 16, dtype=torch.bfloat16)
    parts = []
    for name in ("one", "two"):
        module.base_model.set_adapter(peft_name(name))
        parts.append((layer(x) - layer.base_layer(x)).float())
    module.base_model.set_adapter([peft_name("one"), peft_name("two")])
    torch.testing.assert_close((layer(x) - layer.base_layer(x)).float(), parts[0] + parts[1], atol=0.1, rtol=0.05)
