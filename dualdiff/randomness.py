"""The same numbers everywhere: streams of random numbers, and sums in one order."""

from __future__ import annotations

import hashlib
import sys
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
def one_thread(denormals: bool = True) -> Iterator[None]:
    """Let torch compute in a single thread.

    How many threads share a sum decides its rounding, and training amplifies a rounding to another
    network; for networks and batches as small as ours more threads are hardly faster.

    Without ``denormals`` a number below 1e-38 is zero, where the processor can do that. The
    gradient of a dead unit is zero, so that Adam's mean of it shrinks by a tenth in every step and
    after 800 of them is such a number: it moves no weight, and takes ten times as long.
    """
    threads, flushed = torch.get_num_threads(), sys.float_info.min / 2 == 0
    torch.set_num_threads(1)
    torch.set_flush_denormal(flushed or not denormals)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
