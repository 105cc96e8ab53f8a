"""Plugins of every kind that raise odd things, return what their contract does not allow, or change what they are
given: one sentence with kind, name and package, status 2, and no run that is called finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PARENTS = {
    "adapter": ("lorarec_adapters.lora", "Lora", "adapters"),
    "backbone": ("lorarec_backbones.text", "TextBackbone", "backbones"),
    "callback": ("lorarec.contracts", "Callback", "callbacks"),
    "head": ("lorarec_heads.ctr", "Ctr", "task_heads"),
    "loss": ("lorarec_losses.clicks", "Bce", "losses"),
    "metric": ("lorarec_metrics.binary", "LogLoss", "metrics"),
    "source": ("lorarec_sources.synthetic", "SyntheticSource", "data_sources"),
    "step": ("lorarec_steps.accumulate", "Accumulate", "steps"),
}
"""By kind: the module and class that the plugin of the test inherits, and the end of its hook's name."""
OVERRIDES = {
    "adapter": "adapter={name: odd, r: 2}",
    "callback": "callbacks=[odd]",
    "head": "head=odd",
    "loss": "head.loss=odd",
    "metric": "evaluate.metrics=[odd, auc]",
    "source": "data.source.name=odd",
    "step": "train.step=odd",
}
BACKBONE = {"name": "odd", "max_length": 32}
PLUGIN = """
import os, signal, sys
import numpy as np
import torch
from torch import nn
from lorarec.contracts import hookimpl
from {module} import {parent}

class Unknown(BaseException):
    pass

class Mute(Exception):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__

def helper():
    raise ValueError("helpless")

class Odd({parent}):
    name, summary = "odd", "misbehave"

    def {method}(self, *given, **options):
        answer = {before}
        {body}

@hookimpl
def lorarec_{hook}():
    return [Odd]
"""
METHODS = {
    "adapter": ["attach", "penalty", "learning_rate_scale", "save"],
    "backbone": ["architecture", "load", "featurizer", "encode", "fingerprint"],
    "callback": ["on_fit_start", "on_optimizer_step", "on_evaluation_end", "on_fit_end", "state_dict"],
    "head": ["needs", "examples", "collate", "build", "items"],
    "loss": ["build"],
    "metric": ["weighted"],
    "source": ["load"],
    "step": ["gradients"],
}
"""By kind, methods that the core calls."""
RAISED = {
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit('bye')": "GeneratorExit: bye",
    "sys.exit(0)": "SystemExit: 0",
    "raise Unknown('what')": "Unknown: what",
    "raise Mute": "Mute: (its message cannot be shown: SystemExit)",
    "raise ValueError('a' * 3_000_000)": "ValueError: aaa",
    "raise RuntimeError('\\x1b[31m\\x00 red')": "RuntimeError: \\x1b[31m\\x00 red",
    "raise StopIteration": "StopIteration",
    "assert False": "AssertionError",
    "1 / 0": "ZeroDivisionError",
}
ALL_METHODS = [(kind, method) for kind, methods in METHODS.items() for method in methods]
EVERY = [
    (kind, method, list(RAISED)[(index + shift) % len(RAISED)])
    for index, (kind, method) in enumerate(ALL_METHODS)
    for shift in ((0,) if len(METHODS[kind]) > 3 else (0, 3, 6))
]
"""Each method with one or three of the odd things, in turn."""


@pytest.fixture
def misbehaves(
    recipe: Callable[..., Path],
    command: Callable[..., Any],
    install: Callable[..., None],
    tiny_checkpoint: Callable[[str], Path],
) -> Callable[..., str]:
    """misbehaves("metric", "value", "return None"): the one message by which training with such a plugin is refused.
    In the statements, `answer` is the result that the method should have."""

    def trained(kind: str, method: str, body: str, *, raises: bool = False, status: int = 2) -> str:
        module, parent, hook = PARENTS[kind]
        before = "None" if raises else f"super().{method}(*given, **options)"
        given = {"module": module, "parent": parent, "method": method, "body": body, "hook": hook, "before": before}
        install("odd", "their-package", PLUGIN.format(**given))
        section = {"backbone": {**BACKBONE, "checkpoint": str(tiny_checkpoint("bert"))}} if kind == "backbone" else {}
        override = () if kind == "backbone" else (OVERRIDES[kind],)
        result = command("train", recipe(**section), *override, "--output", "run")
        assert result.code == status and not Path("run").exists(), result.err[-3_000:]
        assert "Traceback" not in result.err and result.out == ""
        message = [line for line in result.err.splitlines() if not line.startswith(("WARNING: ", "step "))]
        assert len(message) == 1 and len(message[0]) < 1_200 and message[0].isprintable(), message
        return message[0]

    return trained


@pytest.mark.parametrize(("kind", "method", "statement"), EVERY)
def test_whatever_a_plugin_raises_is_one_sentence_with_its_kind_name_and_package(
    kind: str, method: str, statement: str, misbehaves: Callable[..., str]
) -> None:
    message = misbehaves(kind, method, statement, raises=True)
    assert message.startswith(f"{kind.capitalize()} 'odd' of their-package raised {RAISED[statement]}")


def test_a_plugin_is_named_where_another_function_of_its_package_raises(misbehaves: Callable[..., str]) -> None:
    message = misbehaves("step", "gradients", "helper()", raises=True)
    assert message.startswith("Step 'odd' of their-package raised ValueError: helpless")


RETURNED = [
    ("source", "load", "return None"),
    ("source", "load", "return answer.interactions"),
    ("source", "load", "return type(answer)(interactions=[1, 2])"),
    ("backbone", "architecture", "return None"),
    ("backbone", "load", "self.module = None"),
    ("backbone", "featurizer", "return None"),
    ("backbone", "featurizer", "return lambda views: None"),
    ("backbone", "fingerprint", "return None"),
    ("backbone", "encode", "return None"),
    ("backbone", "encode", "return answer.pooled"),
    ("backbone", "encode", "return answer._replace(pooled=answer.pooled[:-1])"),
    ("backbone", "encode", "return answer._replace(pooled=answer.pooled[:, :5])"),
    ("backbone", "encode", "return answer._replace(pooled=answer.pooled * float('nan'))"),
    ("backbone", "user_columns", "return None"),
    ("backbone", "user_columns", "return 'age'"),
    ("backbone", "is_reproducible", "return None"),
    ("adapter", "attach", "return None"),
    ("adapter", "attach", "return 'network'"),
    ("adapter", "penalty", "return torch.zeros(3)"),
    ("adapter", "penalty", "return torch.tensor(float('nan'))"),
    ("adapter", "learning_rate_scale", "return None"),
    ("adapter", "learning_rate_scale", "return float('nan')"),
    ("adapter", "learning_rate_scale", "return -1.0"),
    ("adapter", "reserved_positions", "return None"),
    ("adapter", "reserved_positions", "return -5"),
    ("adapter", "callbacks", "return None"),
    ("adapter", "restore", "return None"),
    ("adapter", "save", "for file in given[1].iterdir(): file.unlink()"),
    ("head", "needs", "return None"),
    ("head", "needs", "return 'click'"),
    ("head", "item_columns", "return None"),
    ("head", "reads_feedback", "return None"),
    ("head", "examples", "return None"),
    ("head", "examples", "return answer.remove_columns('event')"),
    ("head", "collate", "return None"),
    ("head", "collate", "answer.count += 1; return answer"),
    ("head", "items", "return answer[:-1]"),
    ("head", "items", "return answer + 10**6"),
    ("head", "build", "return None"),
    ("head", "build", "answer.losses = lambda encode, batch: None; return answer"),
    ("head", "build", "answer.losses = lambda encode, batch: torch.zeros(batch.count); return answer"),
    ("head", "build", "answer.score = lambda encode, batch: batch.rows.float() * float('nan'); return answer"),
    ("head", "build", "answer.score = lambda encode, batch: torch.zeros(3); return answer"),
    ("loss", "build", "return None"),
    ("loss", "build", "return lambda logits, labels: logits"),
    ("loss", "build", "answer.forward = lambda logits, labels: None; return answer"),
    ("loss", "build", "answer.forward = lambda logits, labels: logits.mean(); return answer"),
    ("loss", "build", "answer.forward = lambda logits, labels: logits[:, None] - labels; return answer"),
    ("loss", "build", "answer.forward = lambda logits, labels: (logits > 0).long(); return answer"),
    ("loss", "build", "answer.forward = lambda logits, labels: logits * float('nan'); return answer"),
    ("loss", "build", "answer.forward = lambda logits, labels: logits.detach(); return answer"),
    ("metric", "value", "return None"),
    ("metric", "value", "return '0.5'"),
    ("metric", "value", "return np.zeros(3)"),
    ("metric", "value", "return float('nan')"),
    ("metric", "value", "return 1j"),
    ("metric", "weighted", "return answer[:-1] if len(answer) > 1 else answer"),
    ("metric", "weighted", "return answer[:, None]"),
    ("metric", "weighted", "given[0][:] = 0; return answer"),
    ("metric", "weighted", "given[2][0] = 7; return answer"),
    ("step", "gradients", "return None"),
    ("step", "gradients", "return float(answer)"),
    ("step", "gradients", "return torch.stack([answer, answer])"),
    ("step", "gradients", "return answer * float('nan')"),
    ("callback", "on_optimizer_step", "given[0].step += 1"),
    ("callback", "on_optimizer_step", "given[0].logs.clear()"),
    ("callback", "on_evaluation_end", "given[0].metrics['auc'] = 1.0"),
    ("callback", "on_evaluation_end", "given[0].best_metric = None"),
    ("callback", "on_optimizer_step", "given[0].stop = None"),
    ("callback", "state_dict", "return [1]"),
    ("callback", "state_dict", "return {'model': nn.Linear(2, 2)}"),
]


@pytest.mark.parametrize(("kind", "method", "statement"), RETURNED)
def test_what_no_contract_allows_is_one_sentence_with_the_plugins_kind_name_and_package(
    kind: str, method: str, statement: str, misbehaves: Callable[..., str]
) -> None:
    message = misbehaves(kind, method, statement)
    assert any(f"{each} 'odd' of their-package" in message for each in (kind, kind.capitalize())), message


@pytest.mark.parametrize(("kind", "method"), [("source", "load"), ("adapter", "attach"), ("head", "build")])
def test_a_signal_while_a_plugin_works_stops_the_command(
    kind: str, method: str, misbehaves: Callable[..., str]
) -> None:
    message = misbehaves(kind, method, "os.kill(os.getpid(), signal.SIGINT)", status=130)
    assert message.startswith("Stopped at once")
