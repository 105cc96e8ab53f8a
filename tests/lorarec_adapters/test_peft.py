"""The adapter `peft`: every method of PEFT can be used and learns, or is refused by name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from pydantic import ValidationError
from safetensors import safe_open
from transformers.pytorch_utils import Conv1D

from lorarec.contracts import IncompatibleError, TrainingPlan
from lorarec.testing import check_adapter, tiny_backbone, tiny_catalog
from lorarec_adapters import peft as adapter_module
from lorarec_adapters.peft import Peft
from lorarec_adapters.peft_methods import METHODS
from lorarec_adapters.peft_options import method_names, open_methods
from lorarec_backbones.sasrec import SasrecBackbone
from lorarec_backbones.text import TextBackbone


def _script() -> ModuleType:
    """The script next to this file that writes docs/adapters.md."""
    spec = importlib.util.spec_from_file_location("peft_page", Path(__file__).parent / "peft_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


script = _script()
EVERYWHERE = ("lora", "ia3", "vera")
"""Methods that CI tries on every family."""
IN_CI = [(method, family) for method in open_methods() for family in ("bert", "llama")]
IN_CI += [(method, family) for method in EVERYWHERE for family in script.FAMILIES if family not in ("bert", "llama")]
ALL = [(method, family) for method in open_methods() for family in script.FAMILIES]
ROUNDING, ROUNDING_OF = 0.02, {"adamss": 0.05}
"""Allowed difference of a share from the page, which was measured on another processor: AdaMSS chooses its weights by a
clustering of singular vectors, which rounding decides."""


@pytest.fixture(scope="session")
def on_page() -> dict[tuple[str, str], Any]:
    """The outcomes of each method on each family in docs/adapters.md."""
    outcomes: dict[tuple[str, str], Any] = script.read_page(script.PAGE.read_text(encoding="utf-8"))
    return outcomes


def _check(method: str, checkpoint: Path, expected: Any) -> None:
    outcome = script.trial(method, checkpoint)
    assert (outcome.refusal, outcome.merges) == (expected.refusal, expected.merges), (
        "docs/adapters.md: run peft_page.py"
    )
    assert abs(outcome.share - expected.share) < ROUNDING_OF.get(method, ROUNDING), "docs/adapters.md: run peft_page.py"


@pytest.mark.parametrize(("method", "family"), IN_CI)
def test_a_method_learns_resumes_reloads_and_merges_as_its_page_says(
    method: str, family: str, tiny_checkpoint: Callable[[str], Path], on_page: dict[tuple[str, str], Any]
) -> None:
    _check(method, tiny_checkpoint(family), on_page[method, family])


@pytest.mark.matrix
@pytest.mark.parametrize(("method", "family"), ALL)
def test_every_method_on_every_family_does_as_its_page_says(
    method: str, family: str, tiny_checkpoint: Callable[[str], Path], on_page: dict[tuple[str, str], Any]
) -> None:
    _check(method, tiny_checkpoint(family), on_page[method, family])


def test_the_page_is_what_its_script_would_write(on_page: dict[tuple[str, str], Any]) -> None:
    assert script.page(on_page) == script.PAGE.read_text(encoding="utf-8")


def test_every_method_that_peft_registers_is_offered_or_refused_on_the_page() -> None:
    registered = {kind.value.lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    assert set(method_names()) == registered
    assert set(METHODS) <= registered, "a method that PEFT no longer has"
    text = script.PAGE.read_text(encoding="utf-8")
    assert not [name for name in registered if f"| `{name}` |" not in text]


@pytest.mark.parametrize("method", sorted(name for name, ours in METHODS.items() if ours.refused))
def test_a_method_that_does_not_fit_is_refused_by_name_with_the_reason(method: str) -> None:
    with pytest.raises(ValidationError, match=rf"method '{method}' does not fit: \w+"):
        Peft.Config.model_validate({"method": method})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "verra"}, r"PEFT has no method 'verra'\. Did you mean 'vera'\?"),
        ({"method": "vera", "d_initail": 0.1}, r"'vera' has no option 'd_initail'\. Did you mean 'd_initial'\?"),
        ({"method": "vera", "r": "8"}, r"method 'vera': r: input should be a valid integer, not '8'"),
        ({"method": "vera", "r": True}, r"method 'vera': r: input should be a valid integer, not True"),
        ({"method": "vera", "d_initial": float("inf")}, "d_initial: input should be a finite number"),
        ({"method": "vera", "target_modules": ["q"]}, "cannot be set: name layers by 'targets'"),
        ({"method": "ia3", "feedforward_modules": ["q"]}, "cannot be set: name layers by 'targets'"),
        ({"method": "vera", "layers_to_transform": [0]}, "cannot be set: number blocks by 'layers'"),
        ({"method": "vera", "task_type": "SEQ_CLS"}, "cannot be set: it follows from 'method'"),
        ({"method": "vera", "fan_in_fan_out": True}, "cannot be set: it follows from the backbone"),
        ({"method": "vera", "bias": "all"}, "would train weights of the backbone itself.* adapter 'full'"),
        ({"method": "lora", "lora_ga_config": {}}, "cannot be set: it is not a plain value"),
        ({"method": "lora", "init_lora_weights": "pissa"}, "most values change the backbone"),
        ({"method": "adamss", "use_asa": True}, "moves ranks after each step"),
        ({"method": "trainable_tokens"}, "needs 'token_indices', which is missing"),
        ({"method": "prompt_tuning", "targets": ["query"]}, "does not let you choose layers: leave out targets"),
        ({"method": "ln_tuning", "targets": "all-linear"}, "attaches to normalization layers, not to linear ones"),
        ({"method": "adaption_prompt", "layers": [0]}, "does not let you choose layers: leave out layers"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_with_what_would(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Peft.Config.model_validate(options)


@pytest.mark.parametrize("method", open_methods())
def test_every_withheld_option_is_one_that_the_method_has(method: str) -> None:
    for option in METHODS[method].withheld if method in METHODS else ():
        with pytest.raises(ValidationError, match=f"method '{method}': '{option}' cannot be set: "):
            Peft.Config.model_validate({"method": method, option: 1})


def _attached(method: str, model_type: str = "bert", dtype: str = "float32", **options: Any) -> Any:
    adapter = Peft(Peft.Config.model_validate({"method": method, **options}))
    backbone = tiny_backbone(model_type, dtype).load(tiny_catalog(), seed=0)
    adapter.check(backbone.architecture())
    return adapter.attach(backbone, TrainingPlan(total_steps=10, epochs=1, seed=0))


def _own(module: Any) -> list[str]:
    return [name for name, weight in module.named_parameters() if weight.requires_grad]


@pytest.mark.parametrize(
    ("method", "option", "fitting"),
    [
        ("c3a", "block_size", 16),
        ("vblora", "vector_length", 16),
        ("road", "group_size", 16),
        ("boft", "boft_block_size", 4),
        ("oft", "oft_block_size", 16),
        ("gralora", "gralora_k", 2),
        ("miss", "r", 16),
        ("psoft", "r", 16),
        ("shira", "r", 8),
        ("waveft", "n_frequency", 256),
        ("fourierft", "n_frequency", 256),
    ],
)
def test_sizes_are_chosen_to_fit_the_width(method: str, option: str, fitting: int) -> None:
    config = _attached(method).active_peft_config
    assert getattr(config, option) == fitting


@pytest.mark.parametrize("method", sorted(name for name, ours in METHODS.items() if ours.divides))
def test_a_size_that_does_not_divide_the_width_is_refused(method: str) -> None:
    option = next(iter(METHODS[method].divides))
    with pytest.raises(IncompatibleError, match=rf"\(method '{method}'\): {option}=5 does not divide .*such as 4"):
        _attached(method, **{option: 5})


def test_a_given_size_within_the_bound_is_used_and_one_above_it_is_refused() -> None:
    assert _attached("miss", r=4).active_peft_config.r == 4
    with pytest.raises(IncompatibleError, match=r"'peft' \(method 'miss'\) cannot attach .* less than or equal"):
        _attached("miss", r=17)


def test_layers_and_targets_choose_what_a_method_attaches_to() -> None:
    assert {name.split(".")[4] for name in _own(_attached("vera", layers=[-1]))} == {"1"}
    assert all(".output.dense." in name for name in _own(_attached("vera", targets=["0.output.dense"])))
    with pytest.raises(IncompatibleError, match=r"target 'qurey' matches no linear layer .* Did you mean 'query'"):
        _attached("vera", targets=["query", "qurey"])


def test_layers_and_targets_choose_the_norms_that_are_tuned() -> None:
    assert len(_own(_attached("ln_tuning"))) == 2 * 5
    assert {name.split(".")[4] for name in _own(_attached("ln_tuning", layers=[0]))} == {"0"}
    assert len(_own(_attached("ln_tuning", targets=["output.LayerNorm"], layers=[0]))) == 2 * 2
    with pytest.raises(IncompatibleError, match="target 'query' matches no normalization layer"):
        _attached("ln_tuning", targets=["query"])


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    ranks = {weight.shape[0] for weight in _attached("delora", rank_pattern={"value": 3}, r=2).parameters() if True}
    assert {2, 3} <= ranks
    with pytest.raises(IncompatibleError, match=r"rank_pattern key 'valeu' matches no .* Did you mean 'value'"):
        _attached("delora", rank_pattern={"valeu": 3})


def test_prompts_take_positions_from_the_text_and_leave_it_some() -> None:
    adapter = Peft(Peft.Config.model_validate({"method": "prompt_tuning", "num_virtual_tokens": 7}))
    assert adapter.reserved_positions() == 7
    with pytest.raises(IncompatibleError, match="36 virtual tokens leave 4 of the 40 positions"):
        _attached("p_tuning", num_virtual_tokens=36)


@pytest.mark.parametrize("method", ["ln_tuning", "prompt_tuning", "trainable_tokens"])
def test_a_method_without_a_matching_part_of_the_module_is_refused(method: str) -> None:
    options = {"token_indices": [5]} if method == "trainable_tokens" else {}
    adapter = Peft(Peft.Config.model_validate({"method": method, **options}))
    backbone = SasrecBackbone(SasrecBackbone.Config()).load(tiny_catalog(), seed=0)
    if method == "ln_tuning":
        backbone.module = torch.nn.Linear(4, 4)
    with pytest.raises(
        IncompatibleError, match=rf"\(method '{method}'\)( needs the token embedding|: there is no norm)"
    ):
        adapter.attach(backbone, TrainingPlan(total_steps=10, epochs=1, seed=0))


def test_weights_that_would_train_in_half_precision_are_refused() -> None:
    assert _own(_attached("vera", dtype="bfloat16"))
    with pytest.raises(IncompatibleError, match=r"trains .* in torch.bfloat16.* Set backbone.dtype=float32"):
        _attached("ln_tuning", dtype="bfloat16")


def test_a_layer_that_a_method_skips_is_named() -> None:
    backbone = tiny_backbone("bert").load(tiny_catalog(), seed=0)
    attention: Any = backbone.module.get_submodule("encoder.layer.0.attention.self")
    attention.query = Conv1D(16, 16)
    with pytest.raises(IncompatibleError, match=r"\(method 'osf'\) skips 'encoder.layer.0.attention.self.query'"):
        Peft(Peft.Config(method="osf")).attach(backbone, TrainingPlan(total_steps=10, epochs=1, seed=0))


def test_a_package_that_a_method_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_module, "find_spec", lambda name: None)
    with pytest.raises(IncompatibleError, match="needs a package: `pip install scikit-learn`"):
        Peft(Peft.Config(method="adamss")).check(tiny_backbone("bert").architecture())


def test_randlora_saves_no_bases(tmp_path: Path) -> None:
    module = _attached("randlora")
    Peft(Peft.Config(method="randlora")).save(module, tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as weights:
        assert not [name for name in weights.keys() if "randlora_A" in name or "randlora_B" in name]  # noqa: SIM118


@pytest.mark.parametrize("method", ["unilora", "tinylora"])
def test_weights_that_layers_share_keep_the_laws(method: str) -> None:
    check_adapter(Peft, tiny_backbone("bert"), method=method)


def test_no_block_below_a_shared_weight_counts_as_frozen(tiny_checkpoint: Callable[[str], Path]) -> None:
    def frozen(**options: Any) -> int:
        backbone = TextBackbone(TextBackbone.Config(checkpoint=str(tiny_checkpoint("bert")))).load(tiny_catalog(), 0)
        adapter = Peft(Peft.Config.model_validate(options))
        return backbone.frozen_blocks(adapter.attach(backbone, TrainingPlan(total_steps=10, epochs=1, seed=0)))

    assert frozen(method="vera", layers=[1]) == 1
    assert frozen(method="vblora") == 0


def test_unsupported_operations_of_a_method_are_refused(tmp_path: Path) -> None:
    prompt = Peft(Peft.Config.model_validate({"method": "p_tuning", "num_virtual_tokens": 4}))
    module = _attached("p_tuning", num_virtual_tokens=4)
    prompt.save(module, tmp_path)
    with pytest.raises(
        IncompatibleError, match="cannot start from saved weights: its files contain the outputs of its weights"
    ):
        prompt.warm_start(module, tmp_path)
    with pytest.raises(IncompatibleError, match=r"\(method 'p_tuning'\) cannot be merged: it adds inputs"):
        prompt.merge(_attached("p_tuning", num_virtual_tokens=4))
    adaption, module = Peft(Peft.Config(method="adaption_prompt")), _attached("adaption_prompt", "llama")
    with pytest.raises(IncompatibleError, match="a backbone can have only one"):
        adaption.add(module, tiny_backbone("llama"), tmp_path, "other")


def test_each_method_has_its_learning_rate_scale() -> None:
    assert Peft(Peft.Config(method="vera")).learning_rate_scale("any") == 30
    assert Peft(Peft.Config(method="deft")).learning_rate_scale("any") == 1
