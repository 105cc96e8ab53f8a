"""The table of a profile, from events that were made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lorarec.engine.profile_table import profile_table


def event(name: str, start: float, end: float, own: float = 0.0, gpu: float = 0.0, device: str = "CPU") -> Any:
    """An event of the profiler; times in milliseconds, `own` on the processor and `gpu` of the kernels it starts."""
    return SimpleNamespace(
        name=name,
        device_type=SimpleNamespace(name=device),
        time_range=SimpleNamespace(start=start * 1000, end=end * 1000),
        self_cpu_time_total=own * 1000,
        self_device_time_total=gpu * 1000,
    )


STEPS = [
    *(event("ProfilerStep*", 0, 100), event("ProfilerStep*", 100, 240)),
    *(event("data", 0, 4), event("forward", 5, 45), event("backward", 45, 85), event("optimizer", 85, 95)),
    *(event("forward", 105, 145), event("backward", 145, 185), event("optimizer", 185, 195)),
    event("evaluation", 196, 236),
    *(event("aten::mm", 6, 26, own=20, gpu=10), event("aten::add", 27, 29, own=2, gpu=1)),
    *(event("aten::mm", 150, 180, own=30, gpu=70), event("aten::sort", 200, 230, own=30, gpu=30)),
]


def cells(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_each_part_has_its_milliseconds_a_step_and_its_share() -> None:
    table = profile_table(STEPS, 3, 4, on_gpu=False)
    assert table.startswith("Optimizer steps 3 to 4: 100.00 ms a step")  # 240 less 40 of evaluation, by two
    assert cells(table, "data (waiting for the next batch)") == ["2.00", "2.0%"]
    assert cells(table, "forward") == cells(table, "backward") == ["40.00", "40.0%"]
    assert cells(table, "optimizer (clipping included)") == ["10.00", "10.0%"]
    assert cells(table, "other (moving the batch, logging, callbacks)") == ["8.00", "8.0%"]


def test_operators_come_dearest_first_and_those_of_an_evaluation_are_left_out() -> None:
    table = profile_table(STEPS, 3, 4, on_gpu=False)
    assert cells(table, "aten::mm") == ["1", "25.00", "25.0%"]
    assert cells(table, "aten::add") == ["0.5", "1.00", "1.0%"]
    assert table.index("aten::mm") < table.index("aten::add")
    assert "aten::sort" not in table
    assert cells(table, "no operator (Python, waiting)") == ["", "74.00", "74.0%"]


def test_a_gpus_work_counts_to_the_part_that_asked_for_it() -> None:
    kernel = event("ampere_gemm", 160, 230, device="CUDA")
    annotation = event("forward", 20, 60, device="CUDA")  # CUDA shows the marks once more, as it lived them
    table = profile_table([*STEPS, kernel, annotation], 3, 4, on_gpu=True)
    assert cells(table, "forward") == ["40.00", "40.0%", "5.50"]
    assert cells(table, "backward") == ["40.00", "40.0%", "35.00"]
    assert cells(table, "aten::mm") == ["1", "40.00", "40.0%"]
    assert "ampere" not in table
    assert cells(table, "the GPU waits") == ["", "59.50", "59.5%"]


def test_beyond_the_ten_dearest_operators_only_their_sum_is_shown() -> None:
    many = [event(f"aten::op{place:02d}", 6, 7, own=place) for place in range(1, 13)]
    table = profile_table([*STEPS[:10], *many], 1, 2, on_gpu=False)
    assert table.count("aten::op") == 10
    assert "aten::op02" not in table
    assert cells(table, "all other operators") == ["", "1.50", "1.5%"]  # (1 + 2) / 2 steps
