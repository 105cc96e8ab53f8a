"""One method of PEFT on one tiny encoder: its outcome, or the reason why it is refused."""

from __future__ import annotations

import copy
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lorarec.contracts import Backbone, IncompatibleError, TrainingPlan
from lorarec.testing import tiny_catalog
from lorarec_adapters.peft import Peft
from lorarec_adapters.peft_methods import method_of
from lorarec_backbones.text import TextBackbone

STEPS, STOP = 30, 15
"""Optimizer steps of a trial, and the step from which it is resumed."""
LEARNING_RATE = 5e-3
WRAPPERS = r"^base_model\.(model\.)?|base_layer\.|(?<=attn\.)model\."
"""What PEFT adds to the names of the backbone's weights."""
SHARE = 0.1
"""The share by which a method must reduce the loss."""
NEEDED: dict[str, dict[str, Any]] = {"trainable_tokens": {"token_indices": list(range(5, 180))}}
"""Required options of methods."""


class Outcome(NamedTuple):
    """The outcome of one method on one family."""

    share: float = 0.0
    """By which `STEPS` steps reduce the loss."""
    merges: bool = False
    refusal: str = ""

    def cell(self) -> str:
        """As on the page."""
        return "-" if self.refusal else f"{100 * self.share:.0f}%{' m' if self.merges else ''}"


def trial(method: str, checkpoint: Path) -> Outcome:
    """Train, stop, resume, save, restore and merge. Raises AssertionError, in a sentence, for what fails."""
    adapter = Peft(Peft.Config.model_validate({"method": method} | NEEDED.get(method, {})))
    try:
        run = _Run(adapter, checkpoint)
    except IncompatibleError as error:
        return Outcome(refusal=_reason(str(error)))
    share = run.train()
    run.check_restored()
    run.check_resumed()
    run.check_disabled()
    return Outcome(share, run.merges())


def _reason(refusal: str) -> str:
    """A message without the backbone's name."""
    text = re.sub(r"^Adapter 'peft' \(method '\w+'\):? (cannot attach to backbone '\w+' \([\w-]+\): )?", "", refusal)
    return re.sub(r"backbone '\w+' \([\w-]+\)", "this one", text).removesuffix(".")


class _Run:
    """One adapter on one backbone."""

    def __init__(self, adapter: Peft, checkpoint: Path) -> None:
        self.adapter, self.checkpoint = adapter, checkpoint
        self.backbone = _loaded(checkpoint)
        adapter.check(self.backbone.architecture())
        self.features = _texts()
        before = self.bare = self.vectors(self.backbone.module)
        self.base = {name: weight.clone() for name, weight in self.backbone.module.state_dict().items()}
        self.module, self.optimizer = self.attached()
        self.own = [name for name, weight in self.module.named_parameters() if weight.requires_grad]
        untrained = self.vectors(self.module)
        if method_of(adapter.config.method).attaches_to != "input":
            drift = float((untrained - before).abs().max())
            assert drift < 0.02, f"untrained, it changes the backbone's vectors by {drift:.2g}"
        # Labels that differ from the backbone's vectors, and that any change of its vectors can approach.
        self.labels = before.flip(0) + torch.linspace(0, 2, before.shape[1])
        self.stopped: Any = None

    def attached(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """A newly attached module and its optimizer, the same each time."""
        self.backbone = _loaded(self.checkpoint)
        torch.manual_seed(0)
        module = self.adapter.attach(self.backbone, TrainingPlan(total_steps=STEPS, epochs=1, seed=0))
        groups = [
            {"params": [weight], "lr": LEARNING_RATE * self.adapter.learning_rate_scale(name)}
            for name, weight in module.named_parameters()
            if weight.requires_grad
        ]
        return module, torch.optim.AdamW(groups, weight_decay=0.0)

    def vectors(self, module: nn.Module) -> Tensor:
        """[B, D] of the regression's views."""
        module.eval()
        with torch.no_grad():
            return self.backbone.encode(module, self.features).pooled

    def weights(self, module: nn.Module) -> dict[str, Tensor]:
        """Copies of the adapter's weights."""
        return {n: weight.detach().clone() for n, weight in module.named_parameters() if weight.requires_grad}

    def train(self) -> float:
        """The share by which training reduces the loss."""
        start, moved, before = self.weights(self.module), set(), self.loss()
        for step in range(STEPS):
            if step == STOP:
                self.stopped = copy.deepcopy((self.weights(self.module), self.optimizer.state_dict()))
            self.step(self.module, self.optimizer, step)
            moved |= {n for n, weight in self.weights(self.module).items() if not torch.equal(weight, start[n])}
        still = sorted(set(self.own) - moved)
        assert not still, f"'{still[0]}' should train but did not move"
        after = {re.sub(WRAPPERS, "", name): weight for name, weight in self.module.state_dict().items()}
        for name, weight in self.base.items():
            assert torch.equal(after[name], weight), f"the backbone's '{name}' moved"
        share = 1 - self.loss() / before
        assert share >= SHARE, f"{STEPS} steps reduced the loss by {share:.1%}, less than {SHARE:.0%}"
        return share

    def loss(self) -> float:
        return float(nn.functional.mse_loss(self.vectors(self.module), self.labels))

    def step(self, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """One optimizer step, with noise from a seed per step as in training."""
        module.train()
        torch.manual_seed(step)
        nn.functional.mse_loss(self.backbone.encode(module, self.features).pooled, self.labels).backward()
        dead = [n for n, w in module.named_parameters() if w.requires_grad and w.grad is None]
        assert not dead, f"'{dead[0]}' should train but gets no gradient"
        optimizer.step()
        optimizer.zero_grad()

    def check_resumed(self) -> None:
        """Resumed from the middle, the same weights to the bit."""
        weights, state = self.stopped
        module, optimizer = self.attached()
        with torch.no_grad():
            for name, weight in module.named_parameters():
                if weight.requires_grad:
                    weight.copy_(weights[name])
        optimizer.load_state_dict(state)
        for step in range(STOP, STEPS):
            self.step(module, optimizer, step)
        other = self.weights(module)
        different = [n for n, weight in self.weights(self.module).items() if not torch.equal(weight, other[n])]
        assert not different, f"resumed, '{different[0]}' ends with other values"

    def check_restored(self) -> None:
        """Saved and restored, the same vectors to the bit."""
        expected = self.vectors(self.module)
        with tempfile.TemporaryDirectory() as folder:
            self.adapter.save(self.module, Path(folder))
            restored = self.adapter.restore(_loaded(self.checkpoint), Path(folder))
            assert torch.equal(self.vectors(restored), expected), "restored, it gives other vectors"
            started, _ = self.attached()
            try:
                self.adapter.warm_start(started, Path(folder))
            except IncompatibleError:
                return
        assert torch.equal(self.vectors(started), expected), "started from what was saved, it gives other vectors"

    def check_disabled(self) -> None:
        """The bare backbone's vectors to the bit, or a refusal."""
        try:
            with self.adapter.disabled(self.module):
                off = self.vectors(self.module)
        except IncompatibleError:
            return
        assert torch.equal(off, self.bare), "disabled, it gives other vectors than the bare backbone"

    def merges(self) -> bool:
        """Whether it can be merged; the vectors must then agree."""
        module = copy.deepcopy(self.module)
        expected = self.vectors(module)
        try:
            merged = self.adapter.merge(module)
        except IncompatibleError:
            return False
        difference = float((self.vectors(merged) - expected).abs().max())
        assert difference < 1e-4, f"merged, its vectors differ by {difference:.2g}"
        assert set(merged.state_dict()) == set(self.base), "merged, it is not the plain backbone"
        return True


def _texts() -> dict[str, Tensor]:
    """Six texts of 4 to 14 tokens: as token ids, since a newly trained tokenizer may differ."""
    ids = torch.randint(5, 180, (6, 14), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(14) < torch.arange(4, 16, 2).unsqueeze(1)).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def _loaded(checkpoint: Path) -> Backbone:
    """The checkpoint with new random weights: layers preserve the scale of their inputs, as those of pretrained models
    do, and biases differ from zero."""
    return copy.deepcopy(_loaded_once(checkpoint))


@cache
def _loaded_once(checkpoint: Path) -> Backbone:
    backbone = TextBackbone(TextBackbone.Config(checkpoint=str(checkpoint))).load(tiny_catalog(), seed=0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for layer in backbone.module.modules():
            if isinstance(layer, nn.Linear | Conv1D):
                inputs = layer.nx if isinstance(layer, Conv1D) else layer.in_features
                layer.weight.normal_(std=inputs**-0.5)
                if layer.bias is not None:
                    layer.bias.normal_(std=0.1)
    return backbone
