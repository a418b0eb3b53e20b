"""Many samples in chunks that fit the cache, each block of them with a noise stream of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from dualdiff.denoisers import Denoiser, check_denoiser, device_of
from dualdiff.process import Process, floating
from dualdiff.randomness import check_generator

T = TypeVar("T")
R = TypeVar("R")

BLOCK = 1024
"""Samples that share one noise stream. Chunks are whole blocks, so chunk size changes no sample."""
LARGEST = {True: 2048, False: 8192}
"""Samples of a chunk at most on a CPU, with networks and without. The layers of more rows leave the
cache; a formula's steps on fewer are so short that threads wait for each other's interpreter."""


class Streams:
    """Random numbers for one chunk, from one generator per block of samples.

    With a ``part``, for these rows of the blocks: what stands beside them is drawn and left.
    """

    def __init__(
        self,
        seeds: list[int],
        n: int,
        dy: int,
        device: torch.device,
        block: int = BLOCK,
        part: slice = slice(None),
    ) -> None:
        self.n, self.dy, self.block, self.device, self.part = n, dy, block, device, part
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def _blocks(self, *shape: int) -> tuple[Tensor, Iterator[tuple[Tensor, torch.Generator]]]:
        numbers = torch.empty(shape, device=self.device, dtype=torch.float32)
        blocks = numbers.split(self.block) if len(self.generators) > 1 else [numbers]
        return numbers[self.part], zip(blocks, self.generators, strict=True)

    def __call__(self) -> Tensor:
        """Fresh standard normal numbers, ``[n, dy]``."""
        numbers, blocks = self._blocks(self.n, self.dy)
        for block, generator in blocks:
            block.normal_(generator=generator)
        return numbers

    def uniform(self) -> Tensor:
        """Fresh uniform numbers of [0, 1), ``[n]``."""
        numbers, blocks = self._blocks(self.n)
        for block, generator in blocks:
            block.uniform_(generator=generator)
        return numbers


Piece = tuple[slice, Tensor, Streams]
"""Where samples stand, their standardised conditions, their noise."""


def _as_here(work: Callable[[T], R]) -> Callable[[T], R]:
    """``work`` in another thread under what this one has set, without gradients."""
    inference = torch.is_inference_mode_enabled()
    kind, enabled = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def there(piece: T) -> R:
        mixed = torch.autocast("cpu", kind, enabled, torch.is_autocast_cache_enabled())
        with torch.inference_mode(inference), torch.no_grad(), mixed:
            return work(piece)

    return there


def in_threads(work: Callable[[T], R], pieces: Iterable[T], device: torch.device) -> Iterator[R]:
    """``work`` on every piece, in order of the pieces.

    On a CPU each of torch's threads takes whole chunks of its own: a chunk stays in one core's
    cache and the small steps between matrix products run in parallel too, where splitting every
    operation over the threads leaves them waiting for each other. What torch keeps per thread
    (inference mode, autocast) is in the threads as it is here.
    """
    threads = torch.get_num_threads()
    todo = list(pieces)
    if device.type != "cpu" or threads == 1 or len(todo) == 1:
        yield from map(work, todo)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            try:
                yield from pool.map(_as_here(work), todo)
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(threads)


def check_request(
    denoisers: Sequence[Denoiser], c: Any, draws: int, chunk: int | None, start_std: float
) -> Tensor:
    """The conditions ``[n, dc]`` as float32 where the denoisers are.

    Raises
    ------
    ValueError
        For what is no denoiser, and for conditions and numbers that cannot be sampled with.
    """
    for denoiser in denoisers:
        check_denoiser("denoiser", denoiser)
    process = denoisers[0].process
    c = floating("conditions", c)
    if c.ndim != 2 or c.shape[1] != process.dc or len(c) == 0:
        raise ValueError(f"conditions must have shape [n >= 1, {process.dc}], not {list(c.shape)}")
    if not bool(torch.isfinite(c).all()):
        raise ValueError("conditions must be finite; some are NaN or infinite")
    for name, value in (("draws", draws), ("chunk", 1 if chunk is None else chunk)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    if not (start_std > 0 and math.isfinite(start_std)):
        raise ValueError(f"start_std must be positive and finite, not {start_std}")
    return c.to(device_of(denoisers), torch.float32)


class Start(NamedTuple):
    """Targets in standardised units, one per sample, and the step up to which they are noised."""

    y: Tensor
    step: int


def check_start(
    process: Process, start: Any, from_step: int | None, n: int, draws: int, start_std: float
) -> Start | None:
    """Where samples set out, if not from pure noise; arguments as of :func:`dualdiff.sample`.

    Raises
    ------
    ValueError
        For other shapes, values that are not finite, and what contradicts itself.
    """
    if start is None:
        if from_step is not None:
            raise ValueError(f"from_step is {from_step}, but there is no start to be noised")
        return None
    rows, shape = floating("start", start), (n, draws, process.dy)
    if rows.shape not in (shape, (n, process.dy)) or not bool(torch.isfinite(rows).all()):
        raise ValueError(
            f"start must be finite numbers of shape {[n, process.dy]} or {[*shape]}, not "
            f"{[*rows.shape]} with {int((~torch.isfinite(rows)).sum())} that are not finite"
        )
    if start_std != 1:
        raise ValueError(f"start_std must be 1 where there is a start, not {start_std:g}")
    step = process.timestep(process.steps - 1 if from_step is None else from_step)
    rows = rows.view(n, -1, process.dy).expand(shape).reshape(-1, process.dy)
    return Start(process.encode_y(rows.to(torch.float32)), int(step))


def chunked(
    denoisers: Sequence[Denoiser],
    c: Tensor,
    generator: torch.Generator,
    draws: int,
    chunk: int | None,
    block: int = BLOCK,
    parts: int | None = 1,
) -> Iterator[Piece]:
    """Whole blocks of samples: their place, their standardised conditions, their noise.

    No chunk is larger than ``chunk`` in whole blocks; by default they share out evenly among the
    threads. Each is cut into ``parts``, which draw the same noise; None: as threads need it.

    Raises
    ------
    ValueError
        For a generator that is none.
    """
    check_generator(generator)
    process, device, threads = denoisers[0].process, c.device, 1
    n = len(c) * draws
    blocks = math.ceil(n / block)
    networks = any(True for denoiser in denoisers for _ in denoiser.parameters())
    if parts is None:
        parts = parts_for(n, device) if networks and chunk is None else 1
        chunk = block if parts > 1 else chunk
    if chunk is None:
        on_cpu = device.type == "cpu"
        chunk, threads = (LARGEST[networks], torch.get_num_threads()) if on_cpu else (1 << 18, 1)
    count = math.ceil(blocks / (math.ceil(chunk / block) * threads)) * threads
    count = min(count, blocks)
    seeds = torch.randint(2**62, (blocks,), generator=generator, device=generator.device).tolist()
    for start, stop in pairwise(min(n, blocks * k // count * block) for k in range(count + 1)):
        size = stop - start
        rows = torch.arange(start, stop, device=device) // draws
        mine = seeds[start // block : math.ceil(stop / block)]
        step = math.ceil(size / parts)
        for first in range(0, size, step):
            part = slice(first, min(first + step, size))
            streams = Streams(mine, size, process.dy, device, block, part)
            place = slice(start + part.start, start + part.stop)
            yield place, process.encode_c(c[rows[part]]), streams


def parts_for(n: int, device: torch.device) -> int:
    """Into how many parts each of few blocks is cut, so that no thread waits for the last one.

    Each part draws the noise of its whole block, so many blocks, which share out evenly enough,
    stay whole.
    """
    threads, blocks = torch.get_num_threads(), math.ceil(n / BLOCK)
    if device.type != "cpu" or blocks % threads == 0 or blocks >= 4 * threads:
        return 1
    return min(threads, 4)
