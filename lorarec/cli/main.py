"""The application, and the exit status of each kind of failure."""

from __future__ import annotations

import errno
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
from lorarec.cli.train import check, train
from lorarec.errors import IncompatibleError, Interrupted, LorarecError, PluginError, RecipeError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DONE, FAILED, USER_MISTAKE, INTERRUPTED = 0, 1, 2, 130
_SAME_IN_ALL_PROCESSES = (RecipeError, PluginError, IncompatibleError)
"""Errors that every process of a run raises: the main one prints them."""


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
    """
    output.set_up_logging()
    try:
        make_app()(args=list(argv), prog_name="lorarec")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer turns KeyboardInterrupt into this
            output.tell_error(
                "Stopped at once. A run that had a checkpoint continues with --resume.", on_every_process=True
            )
        return stop.code if isinstance(stop.code, int) else DONE if stop.code is None else FAILED
    except Interrupted as stop:
        output.tell_error(stop, on_every_process=True)
        return INTERRUPTED
    except LorarecError as mistake:
        output.tell_error(mistake, on_every_process=isinstance(mistake, _SAME_IN_ALL_PROCESSES))
        return USER_MISTAKE
    except Exception as error:
        if _disk_is_full(error):
            output.tell_error(_disk_message(error), on_every_process=False)
            return USER_MISTAKE
        traceback.print_exc(file=sys.stderr)
        return FAILED
    return DONE


def _disk_is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    # safetensors raises its own error type, which has the cause only in its message.
    phrases = ["No space left on device", *(f"os error {number})" for number in _NO_ROOM)]
    return any(phrase in str(error) for phrase in phrases)


def _disk_message(error: Exception) -> str:
    file = getattr(error, "filename", None)
    context = f" while writing {file}" if file else ""
    return (
        f"The disk is full{context}. No half-written run or output was left behind. "
        "Free some space and run the command again; a training run continues from its checkpoint with --resume."
    )
