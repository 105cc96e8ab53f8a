"""The application, and the exit status of each kind of failure."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from lorarec import __version__
from lorarec.cli import output
from lorarec.cli.finished_run import calibrate, compare, evaluate, merge, predict, recommend
from lorarec.cli.plugins import plugins_app
from lorarec.cli.recipes import recipes_app
from lorarec.cli.schema import schema
from lorarec.cli.signals import INTERRUPTED, STOPPED, interrupts
from lorarec.cli.train import check, train
from lorarec.errors import Interrupted, LorarecError, PluginError, described, is_full, is_lost, is_out_of_memory

DONE, FAILED, USER_MISTAKE = 0, 1, 2


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"lorarec {__version__}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fine-tune pretrained models for recommendation by training as few weights as possible."""


def make_app() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        name="lorarec",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        epilog="To begin: lorarec train quickstart. Then lorarec recipes, and lorarec plugins.",
    )
    app.callback()(_about)
    for command in (train, check, evaluate, compare, calibrate, predict, recommend, merge):
        app.command()(command)
    app.add_typer(plugins_app, name="plugins")
    app.add_typer(recipes_app, name="recipes")
    app.command()(schema)
    return app


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit status.

    0: done. 2: a user's mistake, printed as one message without a traceback. 130: interrupted. 1: any other error.
    With the environment variable LORAREC_TRACEBACK=1, the traceback of each error is printed as well.
    """
    output.set_up_streams()
    output.set_up_logging()
    with interrupts() as signals:
        status = _run(argv, signals)
    try:
        sys.stdout.flush()
    except OSError as error:  # the reader of a pipe has ended, or the disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return FAILED if isinstance(error, BrokenPipeError) else _status(error)
    return status


def _run(argv: Sequence[str], signals: Sequence[int]) -> int:
    try:
        _refuse(argv)
        make_app()(args=list(argv), prog_name="lorarec")
    except SystemExit as stop:
        if message := _plugin_message(stop):
            return _status(PluginError(message))
        if stop.code == INTERRUPTED:  # typer turns KeyboardInterrupt into this
            output.tell_error(STOPPED, on_every_process=True)
        return stop.code if isinstance(stop.code, int) else DONE if stop.code is None else FAILED
    except Exception as error:
        if signals and not isinstance(error, Interrupted):  # a library failed because it was interrupted
            output.tell_error(STOPPED, on_every_process=True)
            return INTERRUPTED
        return _status(error)
    except BaseException as error:  # of a plugin that is listed or described
        if not (message := _plugin_message(error)):
            raise
        return _status(PluginError(message))
    return DONE


def _refuse(argv: Sequence[str]) -> None:
    """Raise LorarecError for arguments, and a working folder, that libraries of other languages cannot use."""
    for word in argv:
        if any("\udc80" <= character <= "\udcff" for character in word):
            raise LorarecError(f"The argument '{word}' is not UTF-8 text. Rename the file or folder.")
    if sys.flags.optimize > 1:
        raise LorarecError(
            "Python removes docstrings with -OO (PYTHONOPTIMIZE=2), which transformers needs. Leave it out, or use -O."
        )
    try:
        os.getcwd()
    except OSError:  # importing torch would end the process
        raise LorarecError(
            "The working folder was deleted. Change to another one, and run the command again."
        ) from None


def _status(error: Exception) -> int:
    """Print an error; the exit status."""
    if os.environ.get("LORAREC_TRACEBACK"):
        traceback.print_exception(error)
    if isinstance(error, Interrupted):
        output.tell_error(error, on_every_process=True)
        return INTERRUPTED
    if isinstance(error, LorarecError):
        output.tell_error(error, on_every_process=error.same_in_all_processes)
        return USER_MISTAKE
    if message := _disk_message(error) or _memory_message(error) or _plugin_message(error) or _file_message(error):
        output.tell_error(message, on_every_process=False)
        return USER_MISTAKE
    if is_lost(error):
        output.tell_error("Another process of this run has ended; its message says why.", on_every_process=False)
    elif not os.environ.get("LORAREC_TRACEBACK"):
        traceback.print_exception(error)
    return FAILED


def _disk_message(error: Exception) -> str:
    """What to do if the disk is full; empty for other errors."""
    if not is_full(error):
        return ""
    file = getattr(error, "filename", None)
    context = f" while writing {file}" if file else ""
    return (
        f"The disk is full{context}. No half-written run or output was left behind. "
        "Free some space and run the command again; a training run continues from its checkpoint with --resume."
    )


def _memory_message(error: Exception) -> str:
    """What to do if no memory is left; empty for other errors."""
    if not is_out_of_memory(error):
        return ""
    return (
        f"Out of memory ({described(error)}). Lower train.batch_size and raise train.accumulate by as much, or set "
        "train.gradient_checkpointing=true; for evaluation and answers, lower evaluate.batch_size."
    )


def _file_message(error: Exception) -> str:
    """Why the system refused a file, such as a name that is too long; empty for other errors."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}."
    return ""


def _plugin_message(error: BaseException) -> str:
    """Which plugin raised the error; empty if none did."""
    if "lorarec.registry" not in sys.modules:  # no plugin is loaded, and loading them takes seconds
        return ""
    from lorarec.registry.faults import fault_of

    return str(fault_of(error) or "")
