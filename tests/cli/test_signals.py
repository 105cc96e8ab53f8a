"""Signals: Ctrl-C and SIGTERM at any moment end a command with one sentence and 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lorarec.cli import main, signals
from lorarec.errors import ArtifactError

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)


@BOTH
def test_a_signal_while_the_command_line_is_imported_is_one_sentence(number: int) -> None:
    interrupted = f"""
import builtins, os
real = builtins.__import__
def interrupted(name, *given):
    if name == "lorarec.cli.main":
        os.kill(os.getpid(), {int(number)})
    return real(name, *given)
builtins.__import__ = interrupted
from lorarec.__main__ import main
main()
"""
    done = process(interrupted)
    assert (done.returncode, done.stderr) == (130, f"{signals.STOPPED}\n")


@BOTH
def test_a_signal_while_a_command_imports_its_libraries_is_one_sentence(number: int, tmp_path: Path) -> None:
    (tmp_path / "interrupted_module.py").write_text(
        f"import os\ntry:\n    os.kill(os.getpid(), {int(number)})\nexcept BaseException:\n    raise ImportError\n"
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from lorarec.cli import main
def check(args, prog_name):
    import interrupted_module
main.make_app = lambda: check
main.run([])
"""
    done = process(code)
    assert (done.returncode, done.stderr) == (130, f"{signals.STOPPED}\n")


@BOTH
def test_an_error_into_which_a_library_turns_the_interrupt_is_none(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(args: list[str], prog_name: str) -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            raise ArtifactError("a run that is not as it was written") from None

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(main, "make_app", lambda: command)
    assert main.run([]) == 130
    assert capsys.readouterr().err == f"{signals.STOPPED}\n"
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_while_the_first_is_cleaned_up_after_is_no_traceback() -> None:
    code = """
import os, signal
from lorarec.cli import main
def command(args, prog_name):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
main.make_app = lambda: command
from lorarec.__main__ import main
main()
"""
    done = process(code)
    assert done.returncode == 130 and done.stderr.splitlines() == [signals.STOPPED]


def test_signals_that_a_process_ignores_stay_ignored() -> None:
    code = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from lorarec.cli import main
def command(args, prog_name):
    os.kill(os.getpid(), signal.SIGINT)
    print("done")
main.make_app = lambda: command
from lorarec.__main__ import main
main()
"""
    done = process(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_signals_are_handled_before_anything_slow_is_imported() -> None:
    code = "import sys, lorarec.__main__; print('typer' in sys.modules, 'numpy' in sys.modules)"
    assert process(code).stdout == "False False\n"
    assert signals.INTERRUPTED == 130
