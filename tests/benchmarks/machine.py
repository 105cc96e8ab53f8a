"""The machine: processor, versions, and the measured speed of its matrix products.

As a side (`python -m machine`) it prints one JSON line, so that the peak is measured between the runs it is compared
with: the speed of a shared processor varies with its load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "lorarec")
SIZES = (1024, 2048)
"""Sides of the square matrices on a CPU; the fastest one counts."""
GPU_SIZES = (4096, 8192)
SECONDS = 1.0
"""Seconds that each size is measured for."""


def processor() -> str:
    """The name of the processor, if the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the checkout, marked as dirty if files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def machine_info() -> dict[str, Any]:
    """Processor, cores, system and versions."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": device,
        "python": platform.python_version(),
        "commit": commit(),
        **versions,
    }


def gemm_gflops(dtype: torch.dtype, device: str, seconds: float = SECONDS) -> float:
    """The highest GFLOP/s of a product of square matrices: 2 n^3 operations over the fastest of many runs."""
    import torch

    best = 0.0
    for size in GPU_SIZES if device == "cuda" else SIZES:
        left = torch.randn(size, size, device=device).to(dtype)
        right = torch.randn(size, size, device=device).to(dtype)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            best = max(best, 2 * size**3 / _seconds_of_one(left, right, device) / 1e9)
    return best


def _seconds_of_one(left: torch.Tensor, right: torch.Tensor, device: str) -> float:
    import torch

    started = time.perf_counter()
    torch.mm(left, right)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Print the machine's description and peaks as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="seconds of measuring each size and type")
    arguments = parser.parse_args()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    peaks = {
        f"gemm_{name}_gflops": gemm_gflops(dtype, device, arguments.seconds)
        for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32))
    }
    print(json.dumps({**machine_info(), **peaks, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
