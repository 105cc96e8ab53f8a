"""check_adapter: what every adapter must do, on the backbone that its author gives."""

from __future__ import annotations

import copy
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Backbone,
    IncompatibleError,
    LorarecError,
    TrainingPlan,
    TrainState,
)
from lorarec.testing.plugin_laws import check_plugin
from lorarec.testing.tiny import tiny_catalog, tiny_views

STEPS = 16
LEARNING_RATE = 1e-2
FALL = 0.0001
"""Share by which that many steps must lower the loss."""
NAMES = ("lora", "a.b", "base_model", "", "default.weight")
"""Names of adapters that a careless lookup would confuse with other names."""
PLAN = TrainingPlan(total_steps=STEPS, epochs=1, seed=0)


def check_adapter(adapter_class: type[Adapter], backbone: Backbone, **options: Any) -> None:
    """Raise AssertionError, in a sentence, for the first law that the adapter breaks on `backbone`.

    A few optimizer steps on a small regression must lower the loss by 0.01%, move every weight that is marked
    trainable, and move nothing else. Saved and restored, under any name, the outputs must be equal to the bit, call by
    call; so must those of another training that starts from what was saved. A file that lacks a weight or has one too
    many must be refused. Disabled, it must leave the bare backbone; with another adapter, its outputs must not change.
    Merged, outputs must agree to 1e-4. The state of the adapter's callbacks must survive a round trip.

    `warm_start`, `disabled`, `add` and `merge` may raise IncompatibleError instead. `options` are settings as in a
    recipe. `backbone` is loaded afresh wherever fresh weights are needed. IncompatibleError from `check` or `attach` is
    passed on: a refusal is no broken law.
    """
    check_plugin(adapter_class)
    adapter = adapter_class(adapter_class.Config.model_validate(options))
    adapter.check(backbone.architecture())
    trial = _Trial(adapter, backbone)
    trial.check_same_names()
    trial.train()
    trial.check_callback_state()
    with tempfile.TemporaryDirectory() as folder:
        trial.check_restored(Path(folder))
        trial.check_warm_start(Path(folder))
        trial.check_disabled()
        trial.check_beside(Path(folder))
        trial.check_merged()
        trial.check_strict(Path(folder))


class _Trial:
    """One adapter on one backbone, attached, with a small regression to train on."""

    def __init__(self, adapter: Adapter, backbone: Backbone) -> None:
        self.adapter = adapter
        self._source = backbone
        self.backbone = self.fresh()
        length = backbone.architecture().max_length - adapter.reserved_positions()
        self.features = self.backbone.featurizer(tiny_catalog(), length)(tiny_views())
        self.module = self.attached(seed=0, backbone=self.backbone)
        self.callbacks = list(adapter.callbacks(self.module))
        self.trainable = self._trainable(self.module)
        # Answers that the backbone does not give by itself, and that any change of its vectors can come
        # nearer to: a last norm that is frozen takes out what is the same in every dimension, so they differ.
        vectors = self.pooled(self.module)
        self.labels = vectors.flip(0) + torch.linspace(0, 2, vectors.shape[1])

    def fresh(self) -> Backbone:
        return copy.deepcopy(self._source).load(tiny_catalog(), seed=0)

    def attached(self, seed: int, backbone: Backbone | None = None) -> nn.Module:
        torch.manual_seed(seed)
        return self.adapter.attach(backbone or self.fresh(), PLAN)

    @staticmethod
    def _trainable(module: nn.Module) -> list[str]:
        return [name for name, parameter in module.named_parameters() if parameter.requires_grad]

    def pooled(self, module: nn.Module, within: AbstractContextManager[None] | None = None) -> Tensor:
        training = module.training
        module.eval()
        with torch.no_grad(), within or nullcontext():
            vectors = self.backbone.encode(module, self.features).pooled.float()
        module.train(training)
        return vectors

    def loss(self) -> float:
        return float(nn.functional.mse_loss(self.pooled(self.module), self.labels))

    def check_same_names(self) -> None:
        again = self._trainable(self.attached(seed=1))
        assert again == self.trainable, (
            "attach must mark the same parameters trainable, by name, each time it is called"
        )

    def train(self) -> None:
        if not self.trainable:
            return
        start = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        moved: set[str] = set()
        loss_before, state = self.loss(), TrainState(total_steps=STEPS)
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
        self._call("on_fit_start", state)
        self.module.train()
        for _ in range(STEPS):
            self._step(optimizer, state)
            # Step by step: an adapter may put a weight back where it started (AdaLoRA's singular values, to
            # zero).
            moved |= {name for name, value in self.module.state_dict().items() if not torch.equal(start[name], value)}
        self._call("on_fit_end", state)
        fall = 1 - self.loss() / loss_before
        assert fall >= FALL, f"{STEPS} steps lowered the loss by {fall:.2%}: the adapter trains nothing of use"
        assert self._trainable(self.module) == self.trainable, "training changed which parameters are trainable"
        # A weight that layers share has a name in each of them.
        own = {n for n, weight in self.module.named_parameters(remove_duplicate=False) if weight.requires_grad}
        for name in start:
            if name in own:
                assert name in moved, f"'{name}' is marked trainable but did not move in {STEPS} steps"
            else:
                assert name not in moved, f"'{name}' is not marked trainable but moved"

    def _step(self, optimizer: torch.optim.Optimizer, state: TrainState) -> None:
        vectors = self.backbone.encode(self.module, self.features).pooled.float()
        loss = nn.functional.mse_loss(vectors, self.labels)
        penalty = self.adapter.penalty(self.module)
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"'{name}' is marked trainable but gets no gradient"
        optimizer.step()
        state.step += 1
        self._call("on_optimizer_step", state)
        optimizer.zero_grad()

    def _call(self, moment: str, state: TrainState) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(state)

    def check_callback_state(self) -> None:
        others = list(self.adapter.callbacks(self.attached(seed=2)))
        assert len(others) == len(self.callbacks), "callbacks must return the same callbacks each time it is called"
        for one, other in zip(self.callbacks, others, strict=True):
            state = one.state_dict()
            other.load_state_dict(copy.deepcopy(state))
            assert _same(state, other.state_dict()), f"callback '{one.name}' does not give back the state it was given"

    def check_restored(self, folder: Path) -> None:
        expected = self.pooled(self.module)
        self.adapter.save(self.module, folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert files or not self.trainable, "weights train, but save wrote no file"
        pickles = [path.name for path in files if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]
        assert not pickles, f"save must write no pickle, but wrote {pickles}"
        for name in (OWN_ADAPTER, *NAMES):
            restored = self.adapter.restore(self.fresh(), folder, name)
            assert not restored.training, "restore must return the module in eval mode"
            for _ in range(2):
                assert torch.equal(self.pooled(restored, self.adapter.active(restored, name)), expected), (
                    f"the restored module gives other outputs than the saved one (under the name '{name}')"
                )

    def check_warm_start(self, folder: Path) -> None:
        module = self.attached(seed=3)
        try:
            self.adapter.warm_start(module, folder)
        except IncompatibleError:
            return
        assert torch.equal(self.pooled(module), self.pooled(self.module)), (
            "after warm_start the module gives other outputs than the saved one"
        )
        assert self._trainable(module) == self.trainable, "warm_start changed which parameters are trainable"

    def check_disabled(self) -> None:
        trained, bare = self.pooled(self.module), self.pooled(self.fresh().module)
        try:
            switched_off = self.adapter.disabled(self.module)
        except IncompatibleError:
            return
        assert torch.equal(self.pooled(self.module, switched_off), bare), (
            "switched off, the module gives other outputs than the bare backbone"
        )
        assert torch.equal(self.pooled(self.module), trained), "once it was off, the adapter is no longer itself"
        assert self._trainable(self.module) == self.trainable, "switching off changed which parameters are trainable"

    def check_beside(self, folder: Path) -> None:
        """Two trained adapters on one module, in two threads at once."""
        other = self.attached(seed=4)
        with torch.no_grad():
            for weight in other.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) / 8)
        try:
            beside = folder / "beside"
            beside.mkdir()
            self.adapter.save(other, beside)
            self.adapter.add(self.module, self.backbone, beside, NAMES[0])
        except IncompatibleError:
            return
        expected = {OWN_ADAPTER: self.pooled(self.module), NAMES[0]: self.pooled(other)}
        assert self._trainable(self.module) == self.trainable, "add changed which parameters are trainable"
        self.module.eval()

        def ask(name: str) -> bool:
            with torch.no_grad(), self.adapter.active(self.module, name):
                vectors = self.backbone.encode(self.module, self.features).pooled.float()
            return torch.equal(vectors, expected[name])

        names = [OWN_ADAPTER, NAMES[0]] * 4
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(ask, names))
        wrong = sorted({name for name, right in zip(names, answers, strict=True) if not right})
        assert not wrong, f"beside another one, the adapter '{', '.join(wrong)}' gives other outputs than alone"

    def check_strict(self, folder: Path) -> None:
        files = sorted(path for path in folder.glob("*.safetensors"))
        for file, change in (
            (file, change) for file in files for change in ("lacks a weight", "has a weight too many")
        ):
            weights = load_file(file)
            changed = dict(list(weights.items())[1:]) if change.startswith("lacks") else weights | {"x": torch.ones(1)}
            save_file(changed, file)
            try:
                self.adapter.restore(self.fresh(), folder)
            except LorarecError:
                save_file(weights, file)
                continue
            raise AssertionError(f"restore must refuse a {file.name} that {change}, by an IncompatibleError")

    def check_merged(self) -> None:
        module = copy.deepcopy(self.module).float()
        expected = self.pooled(module)
        try:
            merged = self.adapter.merge(module)
        except IncompatibleError:
            return
        difference = float((self.pooled(merged) - expected).abs().max())
        assert difference < 1e-4, f"the merged module's outputs differ from the unmerged one's by {difference:.2g}"
        names = set(self.fresh().module.state_dict())
        assert set(merged.state_dict()) == names, "merge must return the plain backbone module, with its own names"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
