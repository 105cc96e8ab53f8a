"""Each kind of failure has its exit status, and one message without a traceback."""

import errno
import importlib
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from lorarec.cli import output
from lorarec.cli.main import run
from lorarec.cli.output import print_metrics
from lorarec.errors import DataError, IncompatibleError, Interrupted
from lorarec.inference.recommender import Recommendation


@pytest.fixture
def train(monkeypatch):
    """train(do) replaces the training pipeline by `do`."""
    importlib.import_module("lorarec.pipeline.check")  # which imports the real one

    importlib.import_module("lorarec.pipeline.check")  # which imports from the module that is replaced

    def replaced(do):
        module = ModuleType("lorarec.pipeline.train")
        module.train = do
        monkeypatch.setitem(sys.modules, "lorarec.pipeline.train", module)

    return replaced


def raising(error):
    def do(*given, **options):
        raise error

    return do


def test_help_imports_no_torch_and_discovers_no_plugins():
    code = (
        "import sys; from lorarec.cli.main import run; status = run(['--help']); "
        "heavy = {'torch', 'transformers', 'datasets', 'pluggy', 'scipy', 'sklearn'}; "
        "print(status, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    for command in [
        "train",
        "check",
        "evaluate",
        "predict",
        "recommend",
        "merge",
        "plugins",
        "recipes",
        "schema",
    ]:
        assert f" {command} " in done.stdout


def test_train_passes_its_arguments_to_the_pipeline_and_prints_the_result(train, capsys, tmp_path):
    calls = []

    def do(recipe, overrides, *, output, resume):
        calls.append((recipe, list(overrides), output, resume))
        metrics = {
            "validation": {"auc": 0.75},
            "test": {"auc": {"value": 0.7}},
            "baselines": {"mean": {"validation": {"auc": 0.5}, "test": {"auc": 0.6}}},
            "trainable_weights": 25,
            "total_weights": 1000,
            "train_seconds": 90.0,
        }
        return SimpleNamespace(
            metrics=metrics,
            path=tmp_path,
            sample=[("a", 4.0)],
            catalog=SimpleNamespace(rows={"a": 0}, titles=lambda rows: ["Apples" for _ in rows]),
            recommend=lambda histories, k, feedback: [[Recommendation("b", "Pears", 0.5)] * k],
        )

    train(do)
    assert run(["train", "quickstart", "adapter=prefix", "train.epochs=2", "--output", str(tmp_path), "--resume"]) == 0
    assert calls == [("quickstart", ["adapter=prefix", "train.epochs=2"], tmp_path, True)]
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines() if "auc" in line] == [
        ["validation", "auc", "0.7500", "0.5000"],
        ["test", "auc", "0.7000", "0.6000"],
    ]
    assert [line.split() for line in printed.splitlines() if "metric" in line] == [
        ["part", "metric", "this", "model", "mean"]
    ]
    assert "baselines: mean\n" in printed
    assert "Trained 25 of 1,000 weights (2.50%) in 90 seconds." in printed
    assert "  Apples  (4)\n" in printed
    assert printed.count("  Pears  (0.500)\n") == 5
    assert printed.endswith(f"The run is in {tmp_path}.\n")


def test_intervals_are_printed_next_to_the_values_and_the_protocol_below_them(capsys):
    bounds = {"over": "5 users", "metrics": {"auc": {"low": 0.6, "high": 0.8, "resamples": 1000}}}
    metrics = {
        "test": {"auc": 0.7, "gauc": 0.6},
        "intervals": {"level": 0.95, "method": "percentile bootstrap", "test": bounds},
        "protocol": {"ties": "count half in AUC", "split fingerprint": "0123456789abcdef0123"},
    }
    print_metrics(metrics)
    printed = capsys.readouterr().out
    assert "95% interval" in printed
    assert [line.split() for line in printed.splitlines() if "auc " in line] == [
        ["test", "auc", "0.7000", "0.6000", "to", "0.8000"],
        ["test", "gauc", "0.6000"],
    ]
    assert "test intervals: percentile bootstrap over 5 users, 1,000 resamples\n" in printed
    assert "ties: count half in AUC\nsplit fingerprint: 0123456789abcdef\n" in printed


def test_only_the_main_process_prints(train, capsys, monkeypatch, tmp_path):
    train(lambda *given, **options: SimpleNamespace(metrics={}, path=tmp_path))
    monkeypatch.setenv("RANK", "1")
    assert run(["train", "quickstart"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("a.csv: row 3: no user."), 2, "a.csv: row 3: no user.\n"),
        (Interrupted("Stopped at step 3."), 130, "Stopped at step 3.\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            2,
            "The disk is full while writing runs/x. ",
        ),
        (RuntimeError("write failed: No space left on device"), 2, "The disk is full. No half-written run "),
        (MemoryError(), 2, "Out of memory (MemoryError). Lower train.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory"), 2, "Out of memory (OutOfMemoryError: CUDA out of memory). "),
    ],
)
def test_a_failure_has_its_status_and_one_message(train, capsys, error, status, message):
    train(raising(error))
    assert run(["train", "quickstart"]) == status
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_an_unexpected_error_shows_its_traceback(train, capsys):
    train(raising(ZeroDivisionError("ours")))
    assert run(["train", "quickstart"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "printed"), [(IncompatibleError("no"), ""), (DataError("no"), "[process 1] no\n")])
def test_an_error_of_all_processes_is_printed_once(train, capsys, monkeypatch, error, printed):
    train(raising(error))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(output, "HEAD_START", 0.0)
    assert run(["train", "quickstart"]) == 2
    assert capsys.readouterr().err == printed


@pytest.mark.parametrize("argv", [["trian"], ["train"], ["train", "x", "--resum"], ["recommend", "run", "-k", "0"]])
def test_an_invalid_command_exits_with_2_and_no_traceback(argv, capsys):
    assert run(argv) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lorarec 0.")


def test_a_recipe_that_does_not_exist_exits_with_2(capsys):
    assert run(["recipes", "show", "quikstart"]) == 2
    assert "There is no recipe 'quikstart'." in capsys.readouterr().err


LONG_OUTPUT = (
    "import sys, typer; from lorarec.cli import main; app = typer.Typer(); "
    "app.command()(lambda: print('x' * 10**6)); main.make_app = lambda: app; sys.exit(main.run([]))"
)


def process(code, **options):
    """A process that runs commands without heavy imports."""
    code = f"import sys\nfrom lorarec.cli import output\nfrom lorarec.cli.main import run\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, errors="replace", timeout=100, **options
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_streams_lack_are_escaped(encoding):
    code = "output.set_up_streams(); output.print_table(['é', '次'], [('→', '💥')]); output.print_lines(['次'])"
    done = process(f"{code}; output.tell_error('次', False)", env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 0 and done.stderr == "\\u6b21\n"
    assert "\\u2192" in done.stdout and "\\U0001f4a5" in done.stdout and done.stdout.endswith("\\u6b21\n")


def test_closed_streams_are_no_error():
    for streams in ("<&- >&-", "2>&-", "<&- >&- 2>&-"):
        line = f"{sys.executable} -m lorarec nosuch {streams}"
        assert subprocess.run(["bash", "-c", line], timeout=100).returncode == 2


def test_a_reader_that_ends_early_gives_a_status_and_no_traceback():
    line = f'{sys.executable} -c "{LONG_OUTPUT}" | head -c 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_full_disk_behind_standard_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lorarec", "--help"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2 and done.stderr.startswith("The disk is full") and done.stderr.count("\n") == 1


def test_a_deleted_working_folder_is_one_sentence(tmp_path):
    (tmp_path / "gone").mkdir()
    line = f"cd {tmp_path}/gone && rmdir ../gone && {sys.executable} -m lorarec check quickstart"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=100)
    sentence = "The working folder was deleted. Change to another one, and run the command again.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


def test_python_without_docstrings_is_one_sentence():
    done = process("sys.exit(run(['check', 'quickstart']))", env={**os.environ, "PYTHONOPTIMIZE": "2"})
    assert done.returncode == 2 and done.stderr.startswith("Python removes docstrings with -OO")


def test_an_argument_that_is_not_utf_8_is_one_sentence(capsys):
    assert run(["evaluate", "run\udcff"]) == 2
    assert capsys.readouterr().err == "The argument 'run\\udcff' is not UTF-8 text. Rename the file or folder.\n"


@pytest.mark.parametrize("variables", [{"RANK": "x"}, {"RANK": ""}, {"COLUMNS": "1"}, {"COLUMNS": "x", "LINES": "x"}])
def test_odd_environment_variables_are_no_error(variables):
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "TERM")}
    code = "status = run(['--help']); output.print_table(['a'], [['b']]); sys.exit(status or output.process_rank())"
    done = process(code, env={**environment, "LANG": "C", "LC_ALL": "C", **variables})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_middle_of_a_long_message_is_left_out(train, capsys):
    train(raising(DataError("events.csv:3: '" + "x" * 1_000_000 + "' is no number.\x1b[31m\n" + "row\n" * 5000)))
    assert run(["train", "quickstart"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("events.csv:3: 'xxx") and lines[0].endswith("xxx' is no number.\\x1b[31m")
    assert lines[-1].startswith("... and ") and lines[-1].endswith(" more lines.") and sum(map(len, lines)) < 2_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (0, "0 seconds"), (90, "90 seconds"), (150, "2.5 minutes"), (23_934, "6.6 hours")],
)
def test_a_time_is_given_in_its_unit(seconds, text):
    from lorarec.pipeline.check import duration

    assert duration(seconds) == text


def test_check_takes_several_seeds_and_checks_the_first(monkeypatch):
    from lorarec.pipeline import check

    calls = []
    monkeypatch.setattr(
        check, "check", lambda recipe, overrides: calls.append(overrides) or SimpleNamespace(lines=list)
    )
    assert run(["check", "quickstart", "seeds=4,5", "train.epochs=1"]) == 0
    assert calls == [["train.epochs=1", "seed=4"]]
