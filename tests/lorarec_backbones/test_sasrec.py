"""The backbone `sasrec`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorarec.contracts import Catalog, Encoded, LorarecError, View
from lorarec_backbones.sasrec import SasrecBackbone


@pytest.fixture
def sasrec(catalog: Catalog) -> Callable[..., SasrecBackbone]:
    """A builder of small loaded backbones in evaluation mode, from settings."""

    def build(seed: int = 0, **settings: Any) -> SasrecBackbone:
        config = SasrecBackbone.Config(**{"hidden_size": 16, "max_length": 5, **settings})
        backbone = SasrecBackbone(config).load(catalog, seed)
        backbone.module.eval()
        return backbone

    return build


def encode(backbone: SasrecBackbone, catalog: Catalog, *views: View) -> Encoded:
    """The views, encoded without an adapter."""
    return backbone.encode(backbone.module, backbone.featurizer(catalog, 100)(views))


def test_an_item_alone_is_its_embedding(sasrec: Callable[..., SasrecBackbone], catalog: Catalog) -> None:
    backbone = sasrec()
    pooled = encode(backbone, catalog, View(candidate=4), View(candidate=0)).pooled
    assert torch.equal(pooled, backbone.module.items.weight[[5, 1]])


def test_the_vector_of_a_view_does_not_depend_on_the_rest_of_the_batch(
    sasrec: Callable[..., SasrecBackbone], catalog: Catalog, views: list[View]
) -> None:
    backbone = sasrec()
    together = encode(backbone, catalog, *views)
    alone = torch.cat([encode(backbone, catalog, view).pooled for view in views])
    torch.testing.assert_close(together.pooled, alone, atol=1e-6, rtol=0)
    assert together.states is None, "not every view is a history"
    assert torch.isfinite(together.pooled).all()


def test_a_candidate_is_read_as_the_latest_event(sasrec: Callable[..., SasrecBackbone], catalog: Catalog) -> None:
    pair = View(history=(1, 2), candidate=3)
    pooled = encode(sasrec(), catalog, pair, View(history=(1, 2, 3))).pooled
    assert torch.equal(pooled[0], pooled[1])


def test_states_are_right_aligned_and_do_not_depend_on_later_events(
    sasrec: Callable[..., SasrecBackbone], catalog: Catalog
) -> None:
    backbone = sasrec()
    seen = encode(backbone, catalog, View(history=(1, 2, 3)), View(history=(1, 2, 5)), View(history=(4,)))
    assert seen.states is not None
    assert torch.equal(seen.states[:, -1], seen.pooled)
    torch.testing.assert_close(seen.states[0, :2], seen.states[1, :2])
    assert not torch.allclose(seen.states[0, 2], seen.states[1, 2])
    alone = encode(backbone, catalog, View(history=(4,))).states
    assert alone is not None
    torch.testing.assert_close(seen.states[2, -1:], alone[0])


def test_only_the_latest_events_are_read(sasrec: Callable[..., SasrecBackbone], catalog: Catalog) -> None:
    backbone = sasrec()
    long = View(history=(0, 1, 2, 3, 4, 5))
    featurizer = backbone.featurizer(catalog, 4)
    assert featurizer([long])["items"].tolist() == [[3, 4, 5, 6]]
    assert featurizer([long._replace(candidate=0)])["items"].tolist() == [[4, 5, 6, 1]]
    assert [featurizer.length(view) for view in (long, View(), View(candidate=1))] == [4, 1, 1]
    assert backbone.featurizer(catalog, 100).length(long) == 5, "the recipe's max_length applies too"


def test_weights_come_from_the_seed_and_leave_the_global_generator_alone(
    sasrec: Callable[..., SasrecBackbone],
) -> None:
    state = torch.get_rng_state()
    fingerprints = [sasrec(seed).fingerprint() for seed in (0, 0, 1)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_every_weight_gets_a_gradient_from_histories_alone(
    sasrec: Callable[..., SasrecBackbone], catalog: Catalog
) -> None:
    backbone = sasrec()
    encode(backbone, catalog, View(history=(0, 1, 2))).pooled.square().sum().backward()
    assert [name for name, weight in backbone.module.named_parameters() if weight.grad is None] == []


def test_the_names_of_the_architecture_are_those_of_its_layers(
    sasrec: Callable[..., SasrecBackbone],
) -> None:
    backbone = sasrec(layers=3)
    architecture = backbone.architecture()
    names = [name for name, part in backbone.module.named_modules() if isinstance(part, torch.nn.Linear)]
    for target in (*architecture.adaptable, *architecture.feedforward):
        assert sum(name.endswith(f".{target}") for name in names) == architecture.layers == 3
    assert not architecture.takes_past


def test_a_saved_copy_is_read_instead_of_drawing_new_weights(
    sasrec: Callable[..., SasrecBackbone], catalog: Catalog, tmp_path: Path
) -> None:
    first = sasrec(seed=0)
    first.save(first.module, tmp_path)
    second = SasrecBackbone(first.config)
    second.load_from(tmp_path)
    assert second.load(catalog, seed=1).fingerprint() == first.fingerprint()
    assert not first.is_reproducible()


def test_a_copy_of_another_catalog_is_refused(
    sasrec: Callable[..., SasrecBackbone], make: Callable[..., Catalog], tmp_path: Path
) -> None:
    first = sasrec()
    first.save(first.module, tmp_path)
    second = SasrecBackbone(first.config)
    second.load_from(tmp_path)
    with pytest.raises(LorarecError, match=r"model\.safetensors: weight 'items\.weight' has shape"):
        second.load(make(["a", "b"]), 0)


def test_a_copy_that_an_earlier_version_wrote_is_refused_with_advice(
    sasrec: Callable[..., SasrecBackbone], catalog: Catalog, tmp_path: Path
) -> None:
    first = sasrec()
    first.save(first.module, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    earlier = {name.replace("query_key_value", "attention.query"): weight for name, weight in weights.items()}
    save_file(earlier, tmp_path / "model.safetensors")
    second = SasrecBackbone(first.config)
    second.load_from(tmp_path)
    with pytest.raises(LorarecError, match=r"its weights are not those.*query_key_value.*Train again"):
        second.load(catalog, 0)


def test_no_block_starts_as_the_identity_since_adapters_may_leave_it_as_drawn(
    sasrec: Callable[..., SasrecBackbone], catalog: Catalog
) -> None:
    backbone = sasrec()
    encode(backbone, catalog, View(history=(0, 1, 2))).pooled.square().sum().backward()
    for block in backbone.module.blocks:
        assert all(block.get_submodule(name).weight.grad.any() for name in ("query_key_value", "feedforward.0"))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(LorarecError, match=r"heads 3 does not divide backbone\.hidden_size 64"):
        SasrecBackbone(SasrecBackbone.Config(heads=3)).architecture()


def test_the_featurizer_can_be_pickled(
    sasrec: Callable[..., SasrecBackbone], catalog: Catalog, views: list[View]
) -> None:
    featurizer = sasrec().featurizer(catalog, 100)
    again = pickle.loads(pickle.dumps(featurizer))
    assert torch.equal(again(views)["items"], featurizer(views)["items"])
