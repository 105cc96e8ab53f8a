"""Writes docs/adapters.md: every method of PEFT, tried on every family of encoders, offline, in some minutes.

python tests/lorarec_adapters/peft_page.py
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

# One thread: more would wait for each other longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from peft_matrix import SHARE, STEPS, Outcome, trial

from lorarec_adapters.peft_methods import method_of
from lorarec_adapters.peft_options import config_class, method_names, open_methods

FAMILIES = (
    *("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "mpnet", "electra"),
    *("gpt2", "llama", "qwen3", "gemma3"),
)
PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"


def page(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """docs/adapters.md from the outcome of each method on each family."""
    methods = open_methods()
    own = {name: method_of(name) for name in methods}
    settled = [
        f"| `{name}` | {ATTACHES_TO[m.attaches_to]} | {m.learning_rate_scale:g} | {_pairs(m.defaults)} | "
        f"{', '.join(f'`{option}`' for option in _sized(name))} |"
        for name, m in own.items()
    ]
    refused = [f"| `{name}` | {method_of(name).refused} |" for name in method_names() if method_of(name).refused]
    rows = [f"| `{name}` | " + " | ".join(outcomes[name, f].cell() for f in FAMILIES) + " |" for name in methods]
    reasons: dict[tuple[str, str], list[str]] = {}
    for (name, family), outcome in sorted(outcomes.items()):
        if outcome.refusal:
            reasons.setdefault((name, outcome.refusal), []).append(family)
    return TEXT.format(
        settled="\n".join(settled),
        refused="\n".join(refused),
        steps=STEPS,
        bar=f"{SHARE:.0%}",
        families=" | ".join(FAMILIES),
        rules="|-" * (len(FAMILIES) + 1) + "|",
        rows="\n".join(rows),
        reasons="\n".join(f"- `{n}` on {', '.join(on)}: {reason}" for (n, reason), on in reasons.items()),
    )


def read_page(text: str) -> dict[tuple[str, str], Outcome]:
    """The outcomes on a page."""
    lines = re.findall(r"^- `(\w+)` on ([\w, -]+): (.*)$", text, re.MULTILINE)
    refusals = {(method, family): reason for method, on, reason in lines for family in on.split(", ")}
    outcomes = {}
    for line in text.split("## On each architecture")[1].splitlines():
        if not line.startswith("| `"):
            continue
        method, *cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        for family, cell in zip(FAMILIES, cells, strict=True):
            outcomes[method, family] = (
                Outcome(refusal=refusals[method, family])
                if cell == "-"
                else Outcome(int(cell.split("%")[0]) / 100, cell.endswith(" m"))
            )
    return outcomes


def _sized(method: str) -> list[str]:
    """Options with a default in PEFT that is replaced if it does not fit."""
    declared, ours = config_class(method), method_of(method)
    return [option for option in [*ours.divides, *ours.by_width] if getattr(declared, option)]


def _pairs(options: Any) -> str:
    return ", ".join(f"`{option}: {json.dumps(value)}`" for option, value in options.items())


ATTACHES_TO = {
    "linear": "linear layers",
    "norms": "normalization layers",
    "embedding": "the token embedding",
    "input": "positions before the text",
    "attention": "whole attention modules",
}
TEXT = """\
# Every method of PEFT

<!-- Written by tests/lorarec_adapters/peft_page.py. Change that file, run it, and keep what it writes. -->

The adapter `peft` offers the methods of [PEFT](https://huggingface.co/docs/peft) that have no separate adapter:

```yaml
adapter: {{name: peft, method: vera, r: 128, layers: [-2, -1]}}
```

or, on the command line:

```bash
lorarec train quickstart 'adapter={{name: peft, method: vera}}' --output runs/vera
```

A method's options are given next to `method`, by the names and types of PEFT's configuration; an unknown one is refused
with the nearest name. Options that depend on the backbone are set for you. `targets` names layers (the ends of their
dotted names, each of which must match, or `all-linear`) and `layers` numbers blocks (0 is the lowest, -1 the last);
by default a method attaches to the attention projections of every block. An untrained adapter does not change the
backbone's vectors, unless it is a prompt.

## Methods

All learn at learning rates for LoRA: `train.learning_rate` is multiplied by the number below. Defaults differ from
PEFT's if those do not learn, change the backbone's vectors from the start, or save more than necessary. Sizes are
chosen to fit the widths of the backbone; those that a recipe sets are refused if they do not fit.

| method | attaches to | rate | other defaults | chosen by width |
|-|-|-|-|-|
{settled}

Refused, each with its reason:

| method | why it does not fit |
|-|-|
{refused}

## On each architecture

Tested on random models of width 32 with two blocks. In {steps} steps on a small regression, each method changes all of
its weights and no others, and reduces the loss by at least {bar}: the table says by how much. Stopped in the middle
and resumed, it ends with the same weights to the bit; saved and restored, it gives the same vectors to the bit. With an
`m`, `lorarec merge` merges it into the backbone, which then gives the same vectors up to rounding. The numbers show
that a method learns, not that one is better than another: their sizes and rates differ.

| method | {families} |
{rules}
{rows}

Reasons of refusals (-):

{reasons}
"""


def main() -> None:
    """Try everything and write the page."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from conftest import write_tiny_checkpoint

    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            checkpoint = Path(folder) / family
            checkpoint.mkdir()
            write_tiny_checkpoint(family, checkpoint)
            for method in open_methods():
                outcomes[method, family] = trial(method, checkpoint)
                print(f"{family} {method}: {outcomes[method, family].cell()}", flush=True)
    PAGE.write_text(page(outcomes), encoding="utf-8")


if __name__ == "__main__":
    main()
