"""Property tests: seeded mutants of valid input are refused by one message, or read correctly.

A test with the argument `seed` runs once for each mutant: `--mutants 2000` runs 2,000 of them instead of 300, and
`-k 'seed17-'` one alone. A test with the argument `process_seed` runs its first mutants as real processes.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from lorarec.cli.main import run

LONGEST_MESSAGE = 2_000
MOST_SECONDS = 2.0
"""Processor time of a refusal: it does not depend on what else runs on the machine."""
NOTICES = ("WARNING: ", "step ")
"""Prefixes of lines that are printed before an error."""
SLOWEST = pytest.StashKey[dict[str, tuple[float, str]]]()


class Outcome(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str
    seconds: float
    """Processor time."""

    @property
    def message(self) -> str:
        """Standard error without the notices before the error."""
        return "\n".join(line for line in self.err.splitlines() if not line.startswith(NOTICES))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a seed."""
    for argument, option in (("seed", "--mutants"), ("process_seed", "--processes")):
        if argument in metafunc.fixturenames:
            seeds = range(metafunc.config.getoption(option))
            metafunc.parametrize(argument, seeds, ids=[f"seed{seed}-" for seed in seeds])


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Random:
    """The random numbers of this test's mutant."""
    seeds = {"seed", "process_seed"} & set(request.fixturenames)
    return Random(request.getfixturevalue(seeds.pop()) if seeds else 0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: empty at the start."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(request: pytest.FixtureRequest) -> Callable[..., Outcome]:
    """command("check", recipe, ...): runs the command's own function in this process. The slowest is reported."""
    slowest = request.config.stash.setdefault(SLOWEST, {})

    def called(*argv: object) -> Outcome:
        out, err, started = io.StringIO(), io.StringIO(), time.process_time()
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.resetwarnings()
            status = run([str(word) for word in argv])
        outcome = Outcome(status, out.getvalue(), err.getvalue(), time.process_time() - started)
        kind = request.node.path.stem
        slowest[kind] = max(slowest.get(kind, (0.0, "")), (outcome.seconds, request.node.name))
        return outcome

    return called


@pytest.fixture
def refused(command: Callable[..., Outcome]) -> Callable[..., str | None]:
    """refused("check", recipe): the one message by which the command refused, or None if it succeeded."""
    return lambda *argv: _refusal(command(*argv))


@pytest.fixture
def refused_by_process(here: Path) -> Callable[..., str | None]:
    """The same as `refused` of a process of its own, as users start it."""

    def called(*argv: object) -> str | None:
        line = [sys.executable, "-m", "lorarec", *map(str, argv)]
        done = subprocess.run(
            line, cwd=here, capture_output=True, text=True, errors="replace", timeout=200, check=False
        )
        return _refusal(Outcome(done.returncode, done.stdout, done.stderr, 0.0))

    return called


def _refusal(outcome: Outcome) -> str | None:
    """The message of a refusal, None for a command that succeeded; fails for all else, and for a slow refusal."""
    assert outcome.status in (0, 2) and "Traceback" not in outcome.err, outcome
    if not outcome.status:
        return None
    assert outcome.message.strip() and len(outcome.message) <= LONGEST_MESSAGE, outcome.message[: 2 * LONGEST_MESSAGE]
    assert outcome.out == "" and outcome.seconds < MOST_SECONDS, outcome
    return outcome.message


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The slowest mutant of each kind."""
    for kind, (seconds, name) in sorted(terminalreporter.config.stash.get(SLOWEST, {}).items()):
        terminalreporter.write_line(f"{kind}: the slowest command took {seconds:.2f} s of processor time: {name}")
