"""How fast we sample, beside the reference library and the bare matrix products, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dualdiff.chunks import in_threads
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.samplers import sample

CHUNKS = (1024, 2048, 4096, 8192)
STEPS = 100


def _network() -> MLP:
    """The thesis's network, untrained: speed does not depend on the weights."""
    return MLP(Process.linear(STEPS), Architecture(), torch.Generator().manual_seed(0)).eval()


def ours(network: MLP, n: int) -> Callable[[], object]:
    """Our DDPM sampler as users call it."""
    c = torch.zeros(n, 3)
    return lambda: sample(network, c, torch.Generator().manual_seed(1))


def diffusers_loop(network: MLP, n: int, chunk: int | None = None) -> Callable[[], object]:
    """The loop of the diffusers documentation with the same network, whole batch or chunked."""
    import diffusers.schedulers

    # The library has no types.
    scheduler: Any = cast(Any, diffusers.schedulers).DDPMScheduler(
        STEPS,
        trained_betas=network.process.beta.float().numpy(),
        variance_type="fixed_large",
        clip_sample=False,
    )
    scheduler.set_timesteps(STEPS)

    def run() -> None:
        generator = torch.Generator().manual_seed(1)
        for size in _sizes(n, chunk or n):
            c = torch.zeros(size, 3)
            y = torch.randn(size, 3, generator=generator)
            for t in scheduler.timesteps:
                eps = network(y, t.expand(size), c)
                y = scheduler.step(eps, t, y, generator=generator).prev_sample

    return run


def matrix_products(
    network: MLP, n: int, chunk: int, threaded: bool = False
) -> Callable[[], object]:
    """The network's matrix products alone, into reused memory: no bias, activation or noise.

    Either every product is split over torch's threads, or each thread takes whole chunks.
    """
    linear = cast("list[nn.Linear]", [*network.layers, network.head])
    layers = [layer.weight.detach().t().contiguous() for layer in linear]

    def work(size: int) -> int:
        widths = [layers[0].shape[0], *(w.shape[1] for w in layers)]
        buffers: list[Tensor] = [torch.zeros(size, width) for width in widths]
        for _ in range(STEPS):
            for weight, source, target in zip(layers, buffers, buffers[1:], strict=False):
                torch.mm(source, weight, out=target)
        return size

    def run() -> None:
        pieces = _sizes(n, chunk)
        done = in_threads(work, pieces, torch.device("cpu")) if threaded else map(work, pieces)
        assert sum(done) == n

    return run


def _sizes(n: int, chunk: int) -> list[int]:
    return [min(chunk, n - start) for start in range(0, n, chunk)]


def _rate(run: Callable[[], object], n: int) -> float:
    """Samples per second of one run."""
    start = time.perf_counter()
    run()
    return n / (time.perf_counter() - start)


@torch.no_grad()
def measure(sizes: Sequence[int], repeats: int, quiet: bool = False) -> list[dict[str, float]]:
    """Rates of every contender, the best of ``repeats``, one row per number of samples.

    The contenders take turns within each repeat of a size, so that a machine that slows down
    slows all of them.
    """
    network = _network()
    rows = []
    for n in sizes:
        contenders = {
            "ours": ours(network, n),
            "diffusers": diffusers_loop(network, n),
            "diffusers, chunks of 2,048": diffusers_loop(network, n, 2048),
        }
        for chunk in CHUNKS:
            for threaded in (False, True):
                run = matrix_products(network, n, chunk, threaded)
                contenders[f"products {chunk} {threaded}"] = run
        rates = dict.fromkeys(contenders, 0.0)
        for _ in tqdm(range(repeats), desc=f"{n:,} samples", disable=quiet):
            for name, run in contenders.items():
                rates[name] = max(rates[name], _rate(run, n))
        limit, best = max(
            (rates.pop(f"products {chunk} {threaded}"), chunk)
            for chunk in CHUNKS
            for threaded in (False, True)
        )
        rows.append({"n": n, **rates, "limit": limit, "limit chunk": best})
    return rows


def main(sizes: Sequence[int], repeats: int, quiet: bool = False) -> None:
    """Print the table (``dualdiff bench``, ``make bench``)."""
    if min(*sizes, repeats) < 1:
        raise ValueError(f"sizes and repeats must be at least 1, not {list(sizes)} and {repeats}")
    print(f"thesis network, {STEPS} DDPM steps, {torch.get_num_threads()} threads; samples/s")
    head = ("samples", "ours", "diffusers", "in chunks", "products", "ours/diffusers", "of limit")
    print(" ".join(f"{h:>15}" for h in head))
    for row in measure(sizes, repeats, quiet):
        n, us, whole = row["n"], row["ours"], row["diffusers"]
        chunked, limit = row["diffusers, chunks of 2,048"], row["limit"]
        cells = [f"{v:,.0f}" for v in (n, us, whole, chunked, limit)]
        cells += [f"{us / whole:.2f}", f"{us / limit:.0%}"]
        print(" ".join(f"{cell:>15}" for cell in cells))
    print(
        "diffusers: its loop over the whole batch; in chunks: the same in chunks of 2,048; "
        "products: the matrix products alone, at the best chunk size and use of threads"
    )
