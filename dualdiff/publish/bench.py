"""How fast we sample, beside the reference library and the bare matrix products, in one run.

And how fast the composition widget does in a browser.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dualdiff.chunks import in_threads
from dualdiff.experiments.members import RECIPES
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process, spread
from dualdiff.samplers import sample
from dualdiff.scenarios import cabinet

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


# --- the widget's sampler in a browser ----------------------------------------------------------

SETTINGS = {
    "while dragging, ancestral": (100, 30, True),
    "while dragging, DPM-Solver++": (100, 12, False),
    "at rest, ancestral": (500, 30, True),
}
"""Points, steps and kind of the composition widget's requests."""
_TIMED = """async ([script, scene, numbers, settings, repeats]) => {
  const core = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const bytes = Uint8Array.from(atob(numbers), (letter) => letter.charCodeAt(0));
  const stage = core.openStage({ ...scene, numbers: new DataView(bytes.buffer) });
  const once = (Floats) => {
    const began = performance.now();
    const chain = core.reverse(stage, settings, Floats);
    while (!chain.next().done);
    return performance.now() - began;
  };
  const median = (Floats) => {
    once(Floats); // compiles
    const times = Array.from({ length: repeats }, () => once(Floats)).sort((a, b) => a - b);
    return times[Math.floor(repeats / 2)];
  };
  return [median(Float32Array), median(Float64Array), core.isFast()];
}"""


def browser_times(repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of a request of the widget: two networks of recipe ``tuned``, joint sampling.

    In WebAssembly, single precision, and in plain JavaScript, double precision; medians.

    Raises
    ------
    RuntimeError
        Without playwright (``pip install dualdiff[dev]``) or without Chromium.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if chromium is None or find_spec("playwright") is None:
        raise RuntimeError("the widget was not timed: that needs Chromium and playwright")
    from playwright.sync_api import sync_playwright

    from dualdiff.widgets.bundle import bundle

    scene, found = _scene(), {}
    numbers = base64.b64encode(scene.pop("numbers")).decode()
    weights = {"general": 1.0, "specialised": 1.0, "unconditional": 0.0}
    common = {"weights": weights, "corrected": False, "seed": 0, "condition": scene["condition"]}
    script = bundle("core.js", exports=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        for name, (points, steps, ancestral) in SETTINGS.items():
            asked = {**common, "points": points, "steps": steps, "ancestral": ancestral}
            fast, plain, _ = page.evaluate(_TIMED, [script, scene, numbers, asked, repeats])
            found[name] = (fast, plain)
        browser.close()
    return found


def _scene() -> dict[str, Any]:
    """The cabinet for the widget, with untrained networks."""
    from dualdiff.widgets.stages import Stage, unconditional
    from dualdiff.widgets.wire import wire

    world, recipe = cabinet(), RECIPES["tuned"]
    generator = torch.Generator().manual_seed(0)
    y, c = world.pairs("general", 1_000, generator)
    process = recipe.process(y, c)
    general, specialised = (
        MLP(process, recipe.architecture, generator, (y - c).mean(0), spread(y - c))
        for _ in range(2)
    )
    members = {
        "general": general,
        "specialised": specialised,
        "unconditional": unconditional(world.general, process, y),
    }
    return wire(Stage("", "", "", members, world.specialised, [], (1.0, 1.0, 1.5)))


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
    print("\ncomposition widget in Chromium, two networks; milliseconds per request")
    try:
        times = browser_times(max(repeats, 5))
    except RuntimeError as error:
        print(error)
        return
    print(f"{'':>30} {'WebAssembly':>15} {'JavaScript':>15}")
    for name, (fast, plain) in times.items():
        print(f"{name:>30} {fast:>15.0f} {plain:>15.0f}")
