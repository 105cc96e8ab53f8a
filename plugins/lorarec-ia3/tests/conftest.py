"""No network, and one thread: on models this small more threads only wait for each other."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch

torch.set_num_threads(1)
