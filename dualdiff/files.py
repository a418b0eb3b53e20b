"""Files that are written whole or not at all, and known by what is in them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

Tensors = dict[str, Tensor]


def unpack(data: bytes) -> tuple[Tensors, dict[str, str]]:
    """Tensors and texts of the contents of a safetensors file; damaged ones raise."""
    tensors = safetensors.torch.load(data)
    length = int.from_bytes(data[:8], "little")
    return tensors, json.loads(data[8 : 8 + length]).get("__metadata__", {})


def digest(tensors: Tensors) -> str:
    """SHA-256 of names, types, shapes and numbers."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, under a temporary name first."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # of a full file system
