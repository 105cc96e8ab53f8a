"""`.ci/run` runs the README's test command in a new environment, and prints pytest's last line at the end."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path):
    """checkout(command): a project whose README has this test command."""

    def made(command):
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
        (tmp_path / ".venv").mkdir()
        text = f"# It\n\n<!-- tests -->\n```bash\n{command}\n```\n\n```bash\necho pytest .venv && exit 9\n```\n"
        (tmp_path / "README.md").write_text(text)
        return tmp_path

    return made


def ci(folder):
    return subprocess.run([folder / ".ci" / "run"], cwd=folder.parent, capture_output=True, text=True)


def test_it_runs_in_a_new_environment_and_prints_the_closing_line_last(checkout):
    folder = checkout("mkdir .venv && echo pytest && echo '== 3 passed, 1 skipped in 1.20s ==' && echo coverage")
    done = ci(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "== 3 passed, 1 skipped in 1.20s =="
    assert list((folder / ".venv").iterdir()) == []


def test_it_fails_with_the_status_of_the_command(checkout):
    folder = checkout("mkdir .venv && echo pytest && echo '== 1 failed, 2 passed in 0.10s ==' && exit 3")
    done = ci(folder)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "== 1 failed, 2 passed in 0.10s =="


def test_it_fails_if_an_early_step_fails(checkout):
    assert ci(checkout("mkdir .venv && false && echo pytest")).returncode == 1


def test_it_refuses_a_readme_without_the_command(checkout):
    done = ci(checkout("echo nothing"))
    assert done.returncode == 1
    assert "README.md" in done.stderr


def test_it_can_be_executed():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
