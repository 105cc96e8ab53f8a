"""check_backbone: what every backbone must do."""

from __future__ import annotations

import copy
import pickle
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from lorarec.contracts import Backbone, Encoded
from lorarec.testing.plugin_laws import check_plugin
from lorarec.testing.tiny import tiny_catalog, tiny_views

TOLERANCE = 1e-4


def check_backbone(backbone: Backbone) -> None:
    """Raise AssertionError, in a sentence, for the first law that the backbone breaks.

    The architecture is known before weights are loaded; loading twice from one seed gives the same weights;
    a view has the same vector alone and in a batch with longer ones; every weight gets a gradient (DDP stops where one
    does not); names that adapters are offered exist; features keep to the length asked for; what starts above frozen
    blocks gives what starts at the bottom; a copy that a run needs (`is_reproducible`) has the same weights; the
    fingerprint stays that of the weights as loaded when an adapter changes them.
    """
    check_plugin(type(backbone))
    architecture = backbone.architecture()
    assert not hasattr(backbone, "module"), "architecture must read configuration only, and load no weights"
    one, other = (copy.deepcopy(backbone).load(tiny_catalog(), seed=3) for _ in range(2))
    assert one.fingerprint() == other.fingerprint(), "loading twice from one seed gave different weights"
    for name in (*architecture.adaptable, *architecture.feedforward):
        known = any(f".{path}".endswith(f".{name}") for path, _ in one.module.named_modules())
        assert known, f"the architecture offers adapters '{name}', which no layer of the module is called"
    _check_featurizer(one, architecture.max_length)
    _check_encoding(one, architecture.hidden_size)
    _check_gradients(one)
    _check_frozen_blocks(one)
    with tempfile.TemporaryDirectory() as folder:
        _check_copy(other, backbone, Path(folder) / "copy")  # a run gives a folder that does not exist yet
    _check_fingerprint(one)


def _check_copy(loaded: Backbone, backbone: Backbone, copied: Path) -> None:
    loaded.save(loaded.module, copied)
    assert any(copied.iterdir()), "save wrote nothing"
    if loaded.is_reproducible():
        return
    again = copy.deepcopy(backbone)
    again.load_from(copied)
    again.load(tiny_catalog(), seed=4)
    assert again.fingerprint() == loaded.fingerprint(), "the copy that save wrote has other weights than it was given"


@torch.no_grad()
def _check_fingerprint(backbone: Backbone) -> None:
    before = backbone.fingerprint()
    for weight in backbone.module.parameters():
        weight.add_(1)
    assert backbone.fingerprint() == before, (
        "the fingerprint changes with the module, which adapters change: it must stay that of the weights as loaded, "
        "or no run could be loaded again"
    )


def _check_featurizer(backbone: Backbone, max_length: int) -> None:
    for limit in (max_length, 9):
        featurizer = pickle.loads(pickle.dumps(backbone.featurizer(tiny_catalog(), limit)))
        features = featurizer(tiny_views())
        sizes = {name: len(value) for name, value in features.items()}
        count = len(tiny_views())
        assert set(sizes.values()) == {count}, f"features must have one row a view, but have {sizes}"
        longest = max(featurizer.length(view) for view in tiny_views())
        assert longest <= limit, f"a view takes {longest} positions where at most {limit} were asked for"


def _encode(backbone: Backbone, features: dict[str, Tensor]) -> Encoded:
    with torch.no_grad():
        return backbone.encode(backbone.module.eval(), features)


def _check_encoding(backbone: Backbone, hidden_size: int) -> None:
    featurizer = backbone.featurizer(tiny_catalog(), backbone.architecture().max_length)
    together = _encode(backbone, featurizer(tiny_views()))
    count = len(tiny_views())
    assert together.pooled.shape == (count, hidden_size), "pooled must be [B, D]"
    assert together.pooled.isfinite().all(), "pooled holds numbers that are not finite"
    for index, view in enumerate(tiny_views()):
        alone = _encode(backbone, featurizer([view])).pooled[0]
        gap = float((alone - together.pooled[index]).abs().max())
        assert gap < TOLERANCE, f"{view} alone and in a batch differ by {gap:.2g}: padding is being read"
    apart = torch.cdist(together.pooled.float(), together.pooled.float()).fill_diagonal_(1)
    assert apart.min() > 0, "two different views got the same vector"


def _check_gradients(backbone: Backbone) -> None:
    backbone.module.requires_grad_(True)
    features = backbone.featurizer(tiny_catalog(), backbone.architecture().max_length)(tiny_views())
    encoded = backbone.encode(backbone.module, features)
    labels = torch.linspace(-1, 1, encoded.pooled.numel()).reshape(encoded.pooled.shape)
    nn.functional.mse_loss(encoded.pooled.float(), labels).backward()  # type: ignore[no-untyped-call]
    dead = [name for name, p in backbone.module.named_parameters() if p.grad is None]
    assert not dead, f"the forward leaves weights unused, where several processes would stop: {dead[:3]}"


def _check_frozen_blocks(backbone: Backbone) -> None:
    backbone.module.requires_grad_(True)
    assert not backbone.frozen_blocks(backbone.module), "where every weight trains, no block is frozen"
    architecture = backbone.architecture()
    if not architecture.blocks:
        return
    backbone.module.requires_grad_(False)
    blocks_of = backbone.module.get_submodule(architecture.blocks)
    assert isinstance(blocks_of, nn.ModuleList), f"the architecture's blocks '{architecture.blocks}' are no ModuleList"
    blocks_of[-1].requires_grad_(True)
    blocks = backbone.frozen_blocks(backbone.module)
    assert blocks in (0, architecture.layers - 1), f"{blocks} blocks are said to be frozen, but all below the last are"
    if not blocks:
        return
    features = backbone.featurizer(tiny_catalog(), architecture.max_length)(tiny_views())
    with torch.no_grad():
        states = backbone.lower_states(backbone.module.eval(), features, blocks)
        above = backbone.encode_above(backbone.module, features, blocks, states)
    assert torch.equal(above.pooled, _encode(backbone, features).pooled), "encode_above gives other vectors than encode"
