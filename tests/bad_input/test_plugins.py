"""Plugins: unknown, in a package that is not installed, broken, and two with the same name."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from lorarec.artifact.layout import write_checksums
from lorarec.registry import discover

LORA_AGAIN = """
from lorarec.contracts import hookimpl
from lorarec_adapters.lora import Lora

class Again(Lora):
    pass

@hookimpl
def lorarec_adapters():
    return [Again]
"""


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("adapter=lorra", "There is no adapter 'lorra'. Did you mean 'lora'? Adapters: "),
        ("head=ctrr", "There is no head 'ctrr'. Did you mean 'ctr'? Heads: "),
        ("backbone=textt", "There is no backbone 'textt'. Did you mean 'text'? Backbones: "),
        ("data.source=synthetik", "There is no source 'synthetik'. Did you mean 'synthetic'? Sources: "),
        ("callbacks=[nothing]", "There is no callback 'nothing'"),
    ],
)
def test_an_unknown_plugin_is_refused_with_the_nearest_name_and_all_names(
    override: str, says: str, recipe: Callable[..., Path], refused: Callable[..., str]
) -> None:
    refused("train", recipe(), override, "--output", "run", says=[f"override '{override}': {says}"])


def test_a_plugin_of_a_package_that_is_not_installed_is_refused_with_the_package(
    recipe: Callable[..., Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [point for point in entry_points(group="lorarec") if point.name != "ia3"]
    monkeypatch.setattr(discover, "entry_points", lambda group: here)
    says = ["There is no adapter 'ia3'", "pip install ./plugins/lorarec-ia3"]
    refused("train", recipe(), "adapter=ia3", "--output", "run", says=says)


def test_a_plugin_that_fails_to_import_is_left_out_with_a_warning(
    recipe: Callable[..., Path], command: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("bend", "their-package", "import a_module_that_is_not_there\n")
    result = command("train", recipe(), "--output", "run")
    assert result.code == 0
    warning = "WARNING: Plugin 'bend' of their-package is broken: ModuleNotFoundError: No module named"
    assert result.err.count(warning) == 1 and "It is left out." in result.err


def test_a_plugin_that_fails_to_import_and_is_named_by_the_recipe_shows_its_error(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("bend", "their-package", "raise RuntimeError('bend needs a compass')\n")
    says = ["'bend' of their-package is broken: RuntimeError: bend needs a compass"]
    refused("train", recipe(), "adapter=bend", "--output", "run", says=says)


HOOK = "from lorarec.contracts import hookimpl\n@hookimpl\ndef lorarec_callbacks():\n    "
ODD = "class Odd(BaseException):\n    def __str__(self): raise SystemExit\n    __repr__ = __str__\n"
BROKEN = {
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit('bye')": "GeneratorExit: bye",
    "import sys; sys.exit(0)": "SystemExit: 0",
    ODD + "raise Odd": "Odd: (its message cannot be shown: SystemExit)",
    "raise ValueError('a\\n' * 100_000)": "ValueError: a a a",
    HOOK + "while True: yield 1": "hook lorarec_callbacks returns more than 1,000 entries",
    HOOK + "raise KeyboardInterrupt": "KeyboardInterrupt",
    HOOK + "return 7": "hook lorarec_callbacks must return a list, not int",
    HOOK + "return 'lora'": "hook lorarec_callbacks must return a list, not str",
    HOOK + "return [None]": "offers None, which is no subclass of Callback",
    ODD + HOOK + "return [Odd()]": "SystemExit",
    HOOK + "return None": "hook lorarec_callbacks must return a list, not NoneType",
}


@pytest.mark.parametrize("source", BROKEN, ids=lambda source: ascii(source.removeprefix(HOOK))[:40])
def test_a_broken_plugin_is_listed_by_one_line_and_stops_only_runs_that_use_it(
    source: str, recipe: Callable[..., Path], command: Callable[..., Any], refused: Callable[..., str],
    install: Callable[..., None],
) -> None:  # fmt: skip
    install("bend", "their-package", source)
    listed = command("plugins")
    assert listed.code == 0 and listed.err.count("\n") == 1 and len(listed.err) < 500
    line = "Plugin 'bend' of their-package is broken: "
    assert any(each.startswith(line) and BROKEN[source] in each for each in listed.out.splitlines()), listed.out
    refused("check", recipe(), "train.processes=7", says=["asks for 7 processes"])  # its plugins were built
    refused("check", recipe(), "adapter=bend", says=["'bend' of their-package is broken", BROKEN[source]])


BLOCKS = """
import os, signal, threading
from lorarec.contracts import hookimpl

@hookimpl
def lorarec_callbacks():
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    while True:
        threading.Event().wait(0.01)
"""


def test_ctrl_c_stops_a_command_though_a_plugins_hook_never_returns(
    recipe: Callable[..., Path], command: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("bend", "their-package", BLOCKS)
    result = command("check", recipe())
    assert result.code == 130 and result.err == "Stopped at once: nothing was half written. Run it again.\n"


def test_ctrl_c_while_a_plugin_is_imported_ends_the_process(
    recipe: Callable[..., Path], command: Callable[..., Any], install: Callable[..., None], tmp_path: Path
) -> None:
    install("bend", "their-package", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    if not (child := os.fork()):  # an import may not be left half done, so the process ends without an exception
        os.dup2(os.open(tmp_path / "messages", os.O_CREAT | os.O_WRONLY), 2)
        command("check", recipe())
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert (tmp_path / "messages").read_text() == "Stopped at once: nothing was half written. Run it again.\n"


def test_ctrl_c_twice_stops_training_although_a_callback_never_returns(
    recipe: Callable[..., Path], command: Callable[..., Any], install: Callable[..., None]
) -> None:
    send = "import os, signal; [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]"
    install("quits", "their-package", CALLBACK.format(statement=f"{send}\n        while True: pass"))
    result = command("train", recipe(), "callbacks=[quits]", "--output", "run")
    assert result.code == 130 and result.err.splitlines()[-1].startswith("Stopped at once, before the first checkpoint")
    assert list(Path().iterdir()) == []


CALLBACK = """
import sys
from lorarec.contracts import Callback, hookimpl

class Odd(BaseException):
    def __str__(self):
        raise ValueError

class Quits(Callback):
    name = "quits"
    summary = "raise something odd"

    def on_optimizer_step(self, state):
        {statement}

@hookimpl
def lorarec_callbacks():
    return [Quits]
"""


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("sys.exit(0)", "SystemExit: 0"),
        ("sys.exit('enough')", "SystemExit: enough"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise Odd", "Odd: (its message cannot be shown: ValueError)"),
        ("raise RuntimeError('no compass')", "RuntimeError: no compass"),
        ("state.nothing", "AttributeError: 'TrainState' object has no attribute 'nothing'"),
        ("next(iter(()))", "StopIteration"),
    ],
)
def test_what_a_callback_raises_is_one_sentence_that_names_it(
    statement: str, says: str, recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("quits", "their-package", CALLBACK.format(statement=statement))
    named = ["Callback 'quits' of their-package raised", says, "their_package_quits.py:"]
    refused("train", recipe(), "callbacks=[quits]", "--output", "run", says=named)


def test_the_traceback_of_a_plugin_is_printed_if_the_environment_says_so(
    recipe: Callable[..., Path], command: Callable[..., Any], install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    install("quits", "their-package", CALLBACK.format(statement="raise RuntimeError('no compass')"))
    monkeypatch.setenv("LORAREC_TRACEBACK", "1")
    result = command("train", recipe(), "callbacks=[quits]", "--output", "run")
    assert result.code == 2 and "Traceback" in result.err and "in on_optimizer_step" in result.err


def test_two_entry_points_with_the_same_name_are_refused_naming_both_packages(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("lora", "their-package", LORA_AGAIN)
    says = ["Two packages offer a plugin 'lora': ", "their-package", "Uninstall one"]
    refused("train", recipe(), "--output", "run", says=says)


def test_two_classes_with_the_same_name_are_refused_naming_both_packages(
    recipe: Callable[..., Path], refused: Callable[..., str], install: Callable[..., None]
) -> None:
    install("lora_again", "their-package", LORA_AGAIN)
    says = ["Two plugins are the adapter 'lora': ", "Again of their-package", "LORAREC_DISABLE_PLUGINS=lora"]
    refused("train", recipe(), "--output", "run", says=says)


BENT = """
from lorarec.contracts import hookimpl
from lorarec_adapters.lora import Lora
from lorarec_metrics.binary import Auc

class Bent(Lora):
    name = "bent"
    summary = "lora by another name"

class Area(Auc):
    name = "area"
    summary = "auc by another name"

@hookimpl
def lorarec_adapters():
    return [Bent]

@hookimpl
def lorarec_metrics():
    return [Area]
"""


def test_a_run_whose_plugins_are_not_installed_names_their_package_and_how_to_install_it(
    recipe: Callable[..., Path], command: Callable[..., Any], refused: Callable[..., str],
    install: Callable[..., None], points: list[EntryPoint], finished_run: Callable[[str], Path],
) -> None:  # fmt: skip
    install("bend", "their-package", BENT)
    argv = ("adapter={name: bent, r: 2}", "evaluate.metrics=[area, log_loss]", "--output", "run")
    assert command("train", recipe(), *argv).code == 0
    points[:] = [point for point in points if point.name != "bend"]
    says = [
        *("run: it was trained with plugins that are not installed here: ", "adapter 'bent' of their-package 1.2"),
        *("metric 'area' of their-package 1.2", "pip install their-package==1.2", "A package is code"),
    ]
    Path("rows.csv").write_text("item,history\ni1,i2\n")
    refused("predict", "run", "--input", "rows.csv", "--output", "out.csv", says=says)
    refused("recommend", "run", "--histories", "rows.csv", "--output", "out.csv", says=says)
    for words in (["evaluate", "run"], ["calibrate", "run"], ["merge", "run", "--output", "plain"]):
        refused(*words, says=says)
    refused("compare", finished_run("ctr"), "run", says=says)
    environment = Path("run/environment.json")
    environment.write_text(environment.read_text().replace("their-package 1.2", "x; rm -rf ~ 1.2"))
    write_checksums(Path("run"))
    assert "rm -rf" not in refused("evaluate", "run", says=["There is no adapter 'bent'"], lines=4)
