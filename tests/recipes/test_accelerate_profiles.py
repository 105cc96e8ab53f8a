"""Each profile is accepted by `accelerate launch --config_file`, and has the settings that its name implies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser

FOLDER = Path(__file__).parents[2] / "recipes" / "accelerate"
EXPECTED = {
    "one_gpu": ("NO", 1, 1),
    "several_gpus": ("MULTI_GPU", 2, 1),
    "fsdp2": ("FSDP", 2, 1),
    "several_machines": ("MULTI_GPU", 8, 2),
}


def test_there_is_one_for_each_way_to_run():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_accelerate_reads_it(name):
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert (config.distributed_type.value, config.num_processes, config.num_machines) == EXPECTED[name]
    # Only the recipe sets the precision: lorarec passes it to Accelerate.
    assert config.mixed_precision in (None, "no")


@pytest.mark.parametrize("name", EXPECTED)
def test_its_comments_have_the_command_that_uses_it(name):
    comments = [line for line in (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
    start = f"accelerate launch --config_file recipes/accelerate/{name}.yaml"
    assert any(start in line for line in comments)


def test_every_setting_of_fsdp_is_an_option_of_accelerate():
    options = {action.dest for action in launch_command_parser()._actions}
    assert set(load_config_from_file(str(FOLDER / "fsdp2.yaml")).fsdp_config) <= options


def test_fsdp_has_the_settings_that_lorarec_reads():
    settings = load_config_from_file(str(FOLDER / "fsdp2.yaml")).fsdp_config
    assert settings == {
        "fsdp_version": 2,
        "fsdp_reshard_after_forward": True,
        "fsdp_offload_params": False,
        "fsdp_cpu_ram_efficient_loading": False,
    }


def test_the_command_of_fsdp_trains_on_cpus_too(tiny_checkpoint, tmp_path):
    recipe = {
        "name": "sharded",
        "data": {"source": {"name": "synthetic", "users": 20, "items": 40, "events": 240}},
        "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert")), "max_length": 32},
        "adapter": "lora",
        "head": "ctr",
        "train": {"max_steps": 1},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    launch = [
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(FOLDER / "fsdp2.yaml"),
        "--main_process_port",
        "0",
    ]
    command = [
        sys.executable,
        *launch,
        "-m",
        "lorarec",
        "train",
        str(tmp_path / "recipe.yaml"),
        "--output",
        str(tmp_path / "run"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (environment["processes"], environment["sharded"]) == (2, True)
