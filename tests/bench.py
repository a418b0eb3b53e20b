"""How fast we sample and train, beside other libraries and the bare matrix products, in one run.

``make bench`` runs it; ``python tests/bench.py --help`` has the options.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dualdiff.chunks import in_threads
from dualdiff.experiments.profiles import resolve_device
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.samplers import sample
from dualdiff.training import fit, fit_together

CHUNKS = (512, 1024)
STEPS = 100
BATCHES = (64, 2048)
STACK = 8
STACKED = f"dualdiff, {STACK} in a stack"
Work = Callable[[], object]
Loop = Callable[[MLP, Tensor, Tensor, torch.Generator], Tensor]
"""Samples of a network from noise ``[n, 3]`` and conditions, on one batch."""


def network_on(device: torch.device) -> MLP:
    """The thesis's network, untrained: speed does not depend on the weights."""
    made = MLP(Process.linear(STEPS), Architecture(), torch.Generator().manual_seed(0))
    return made.eval().to(device)


def ours(network: MLP, n: int) -> Work:
    """Our DDPM sampler as users call it."""
    c = torch.zeros(n, 3)
    return lambda: sample(network, c, torch.Generator().manual_seed(1))


def in_bfloat16(work: Work, device: torch.device) -> Work:
    """The same with hidden layers in bfloat16, where the processor has it."""

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            work()

    return run


def diffusers_loop(network: MLP, y: Tensor, c: Tensor, generator: torch.Generator) -> Tensor:
    """The loop of the diffusers documentation."""
    import diffusers.schedulers

    # The library has no types.
    scheduler: Any = cast(Any, diffusers.schedulers).DDPMScheduler(
        STEPS,
        trained_betas=network.process.beta.float().numpy(),
        variance_type="fixed_large",
        clip_sample=False,
    )
    scheduler.set_timesteps(STEPS)
    for t in scheduler.timesteps.to(y.device):
        eps = network(y, t.expand(len(y)), c)
        y = scheduler.step(eps, t, y, generator=generator).prev_sample
    return y


def _sigmas(process: Process, like: Tensor) -> Tensor:
    """Ratios of noise to signal from T - 1 to 0, and 0 for the clean data."""
    ratio = (1 / process.alpha_bar - 1).sqrt().flip(0)
    return torch.cat([ratio, ratio.new_zeros(1)]).to(like)


def _predict(network: MLP, x: Tensor, i: int, sigma: Tensor, c: Tensor) -> Tensor:
    """The noise in ``x``, whose noise has standard deviation sigma, at the i-th step."""
    t = torch.full((len(x),), STEPS - 1 - i, device=x.device)
    return cast(Tensor, network(x / (sigma**2 + 1).sqrt(), t, c))


def k_diffusion_loop(network: MLP, y: Tensor, c: Tensor, generator: torch.Generator) -> Tensor:
    """``sample_euler_ancestral`` of k-diffusion, in form: written down here and not imported."""
    sigmas = _sigmas(network.process, y)
    x = y * sigmas[0]
    for i in range(STEPS):
        denoised = x - sigmas[i] * _predict(network, x, i, sigmas[i], c)
        up = (sigmas[i + 1] ** 2 * (sigmas[i] ** 2 - sigmas[i + 1] ** 2) / sigmas[i] ** 2).sqrt()
        down = (sigmas[i + 1] ** 2 - up**2).sqrt()
        x = x + (x - denoised) / sigmas[i] * (down - sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + up * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x


def smalldiffusion_loop(network: MLP, y: Tensor, c: Tensor, generator: torch.Generator) -> Tensor:
    """``samples`` of smalldiffusion with mu = 1/2 (DDPM), in form."""
    sigmas, mu = _sigmas(network.process, y), 0.5
    x = y * sigmas[0]
    for i in range(STEPS):
        eps = _predict(network, x, i, sigmas[i], c)
        part = (sigmas[i + 1] / sigmas[i] ** mu) ** (1 / (1 - mu))
        eta = (sigmas[i + 1] ** 2 - part**2).sqrt()
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        x = x - (sigmas[i] - part) * eps + eta * noise
    return x


def chunks(loop: Loop, network: MLP, n: int, chunk: int | None = None) -> Work:
    """A loop over the whole batch, or over one chunk after the other."""
    device = network.offset.device

    def run() -> None:
        generator = torch.Generator(device).manual_seed(1)
        for size in sizes_of(n, chunk or n):
            y = torch.randn(size, 3, generator=generator, device=device)
            loop(network, y, torch.zeros(size, 3, device=device), generator)

    return run


def _weights(network: MLP) -> list[Tensor]:
    linear = cast("list[nn.Linear]", [*network.layers, network.head])
    return [layer.weight.detach().t().contiguous() for layer in linear]


def _buffers(weights: Sequence[Tensor], n: int) -> list[Tensor]:
    widths = [len(weights[0]), *(w.shape[1] for w in weights)]
    return [weights[0].new_zeros(n, width) for width in widths]


def matrix_products(network: MLP, n: int, chunk: int, threaded: bool = False) -> Work:
    """The network's matrix products alone, into reused memory: no bias, activation or noise.

    Either every product is split over torch's threads, or each thread takes whole chunks.
    """
    weights = _weights(network)

    def work(size: int) -> int:
        buffers = _buffers(weights, size)
        for _ in range(STEPS):
            for weight, source, target in zip(weights, buffers, buffers[1:], strict=False):
                torch.mm(source, weight, out=target)
        return size

    def run() -> None:
        pieces, device = sizes_of(n, chunk), weights[0].device
        done = in_threads(work, pieces, device) if threaded else map(work, pieces)
        assert sum(done) == n

    return run


def training(network: MLP, rows: int, steps: int) -> Work:
    """Steps of our training, on a network of its own."""
    y = torch.zeros(rows, 3)
    generator = torch.Generator(network.offset.device).manual_seed(1)
    run = fit(network, y, y, epochs=10**9, batch_size=rows, generator=generator)

    def work() -> None:
        with torch.enable_grad():
            for _ in range(steps):
                next(run)

    return work


def training_stack(device: torch.device, rows: int, steps: int) -> Work:
    """As many steps of a stack of networks."""
    networks = [network_on(device) for _ in range(STACK)]
    pairs = [(torch.zeros(rows, 3), torch.zeros(rows, 3))] * STACK
    sources = [torch.Generator(device).manual_seed(k) for k in range(STACK)]
    run = fit_together(networks, pairs, epochs=10**9, batch_size=rows, generators=sources)

    def work() -> None:
        for _ in range(steps):
            next(run)

    return work


def training_products(network: MLP, rows: int, steps: int) -> Work:
    """The products of a training step alone: of the layers, their weights, their inputs."""
    weights = _weights(network)
    buffers, gradients = _buffers(weights, rows), _buffers(weights, rows)
    into = [torch.empty_like(weight) for weight in weights]

    def work() -> None:
        for _ in range(steps):
            for i, weight in enumerate(weights):
                torch.mm(buffers[i], weight, out=buffers[i + 1])
            for i, weight in reversed([*enumerate(weights)]):
                torch.mm(buffers[i].t(), gradients[i + 1], out=into[i])
                if i:  # data have no gradient
                    torch.mm(gradients[i + 1], weight.t(), out=gradients[i])

    return work


def sizes_of(n: int, chunk: int) -> list[int]:
    return [min(chunk, n - start) for start in range(0, n, chunk)]


def fastest(
    contenders: Mapping[str, Work], repeats: int, limit_s: float, label: str, quiet: bool
) -> dict[str, float]:
    """Seconds of every contender, the best of ``repeats`` rounds, or of one and what a time allows.

    They take turns within a round, so that a machine that slows down slows all of them.
    """
    seconds = dict.fromkeys(contenders, float("inf"))
    began = time.perf_counter()
    for _ in tqdm(range(repeats), desc=label, disable=quiet):
        for name, run in contenders.items():
            start = time.perf_counter()
            if seconds[name] < float("inf") and start - began > limit_s:
                return seconds
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


LIMIT = "matrix products alone"


def _with_limit(seconds: Mapping[str, float]) -> dict[str, float]:
    """The best way to compute the products, before the others."""
    ways = [value for name, value in seconds.items() if name.startswith(LIMIT)]
    others = {name: value for name, value in seconds.items() if not name.startswith(LIMIT)}
    return {LIMIT: min(ways), **others}


@torch.no_grad()
def sampling(
    n: int, device: torch.device, repeats: int, limit_s: float, quiet: bool = False
) -> dict[str, float]:
    """Seconds for ``n`` samples: ours, those of others, and the limit."""
    network = network_on(device)
    contenders = {
        "dualdiff": ours(network, n),
        "dualdiff, bfloat16": in_bfloat16(ours(network, n), device),
        "diffusers": chunks(diffusers_loop, network, n),
        "diffusers, chunks of 2,048": chunks(diffusers_loop, network, n, 2048),
        "k-diffusion, in form": chunks(k_diffusion_loop, network, n),
        "smalldiffusion, in form": chunks(smalldiffusion_loop, network, n),
    }
    for chunk in CHUNKS:
        for threaded in (False, True):
            run = matrix_products(network, n, chunk, threaded)
            contenders[f"{LIMIT} {chunk} {threaded}"] = run
    return _with_limit(fastest(contenders, repeats, limit_s, f"{n:,} samples", quiet))


@torch.no_grad()
def training_steps(
    rows: int, device: torch.device, repeats: int, limit_s: float, quiet: bool = False
) -> dict[str, float]:
    """Seconds for a step of training of a network with a batch of ``rows``."""
    steps = max(1, 8192 // rows)
    network, threads = network_on(device), torch.get_num_threads()
    bare = training_products(network, rows, steps)

    def alone() -> None:
        torch.set_num_threads(1)
        bare()
        torch.set_num_threads(threads)

    contenders = {
        "dualdiff": training(network_on(device), rows, steps),
        STACKED: training_stack(device, rows, steps),
        f"{LIMIT} split": bare,
        f"{LIMIT} one thread": alone,
    }
    seconds = fastest(contenders, repeats, limit_s, f"training, {rows:,} rows", quiet)
    seconds[STACKED] /= STACK
    return {name: value / steps for name, value in _with_limit(seconds).items()}


def operations(rows: int) -> float:
    """Floating-point operations of the products of a training step."""
    first, *rest = [weight.numel() for weight in _weights(network_on(torch.device("cpu")))]
    return 2 * rows * (2 * first + 3 * sum(rest))


def lines(columns: Mapping[str, Mapping[str, float]], unit: Mapping[str, float]) -> Iterator[str]:
    """A table of rates, ``unit`` per second of each column, beside their share of the limit."""
    yield " " * 28 + "".join(f"{head:>24}" for head in columns)
    for name in next(iter(columns.values())):
        cells = [
            f"{unit[head] / seconds[name]:>16,.0f} {seconds[LIMIT] / seconds[name]:>6.0%} "
            for head, seconds in columns.items()
        ]
        yield f"{name:<28}" + "".join(cells)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000], help="of samples")
    parser.add_argument("--device", default="cpu", help="where torch computes")
    parser.add_argument("--rounds", type=int, default=7, help="the best of so many counts ...")
    parser.add_argument(
        "--seconds", type=float, default=15, help="... or of one and what it allows"
    )
    asked = parser.parse_args()
    common = (resolve_device(asked.device), asked.rounds, asked.seconds)
    found = {f"{n:,} samples": sampling(n, *common) for n in asked.sizes}
    steps = {f"{rows:,} rows": training_steps(rows, *common) for rows in BATCHES}
    flops = {name: operations(r) / 1e9 for name, r in zip(steps, BATCHES, strict=True)}
    print(f"\nthe thesis's network on {asked.device}, {torch.get_num_threads()} threads; beside")
    print("each rate its share of the rate of the matrix products alone, computed the best way")
    print(f"\nsampling, {STEPS} DDPM steps: samples per second")
    print(*lines(found, dict(zip(found, asked.sizes, strict=True))), sep="\n")
    print("\ntraining: steps per second")
    print(*lines(steps, dict.fromkeys(steps, 1.0)), sep="\n")
    print("\ntraining: GFLOP per second")
    print(*lines(steps, flops), sep="\n")
    print("\nin form: the loop of that library written down here, with our network")


if __name__ == "__main__":
    main()
