"""Fingerprint: a hash of a module's weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn


def weights_fingerprint(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of all weights and buffers, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_fingerprint(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
