"""The same numbers everywhere: streams of random numbers, and sums in one order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def stream(seed: int, *labels: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for every purpose, so that no step's numbers depend on another's."""
    digest = hashlib.sha256(repr((seed, *labels)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def check_generator(value: Any) -> None:
    """Refuse what is no generator, such as a seed.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, torch.Generator):
        raise ValueError(
            "generator must be a torch.Generator, such as torch.Generator().manual_seed(0), "
            f"not {value!r:.60}"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in a single thread.

    How many threads share a sum decides its rounding, and training amplifies a rounding to another
    network; for networks and batches as small as ours more threads are hardly faster.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
