"""Each profile is accepted by `accelerate launch --config_file`, and has the settings that its name implies."""

import json
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser

FOLDER = Path(__file__).parents[2] / "recipes" / "accelerate"
EXPECTED = {
    "one_gpu": ("NO", 1, 1),
    "several_gpus": ("MULTI_GPU", 2, 1),
    "fsdp2": ("FSDP", 2, 1),
    "deepspeed_zero2": ("DEEPSPEED", 2, 1),
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


@pytest.mark.parametrize(("name", "section"), [("fsdp2", "fsdp_config"), ("deepspeed_zero2", "deepspeed_config")])
def test_every_setting_of_a_section_is_an_option_of_accelerate(name, section):
    options = {action.dest for action in launch_command_parser()._actions}
    settings = getattr(load_config_from_file(str(FOLDER / f"{name}.yaml")), section)
    assert settings
    assert set(settings) <= options


def test_fsdp_has_the_settings_that_lorarec_reads():
    settings = load_config_from_file(str(FOLDER / "fsdp2.yaml")).fsdp_config
    assert settings == {
        "fsdp_version": 2,
        "fsdp_reshard_after_forward": True,
        "fsdp_offload_params": False,
        "fsdp_cpu_ram_efficient_loading": False,
    }


def test_the_file_of_deepspeed_is_stage_2_and_has_no_value_auto():
    settings = load_config_from_file(str(FOLDER / "deepspeed_zero2.yaml")).deepspeed_config
    file = FOLDER.parents[1] / settings["deepspeed_config_file"]
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["zero_optimization"]["stage"] == 2
    # lorarec uses its own loader, so that Accelerate could not replace "auto" by a batch size.
    assert "auto" not in json.dumps(written)
