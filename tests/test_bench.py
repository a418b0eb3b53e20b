"""The benchmark compares like with like; how fast anything is, is not a test."""

import bench
import pytest
import torch
import widget_speed
from browser import needs_chromium
from conftest import generator

from dualdiff.samplers import DDPM, reverse

CPU = torch.device("cpu")
LOOPS = {
    "diffusers": bench.diffusers_loop,
    "k-diffusion": bench.k_diffusion_loop,
    "smalldiffusion": bench.smalldiffusion_loop,
}


def test_every_contender_is_measured() -> None:
    seconds = bench.sampling(300, CPU, 1, 0, quiet=True)
    assert list(seconds)[:2] == [bench.LIMIT, "dualdiff"] and len(seconds) == 7
    steps = bench.training_steps(64, CPU, 1, 0, quiet=True)
    assert list(steps) == [bench.LIMIT, "dualdiff", bench.STACKED]
    assert all(0 < value < float("inf") for value in (*seconds.values(), *steps.values()))


@pytest.mark.parametrize("name", LOOPS)
def test_the_loops_sample_what_we_sample(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With noise switched off: an ancestral step without noise is its mean, in all of them."""
    network = bench.network_on(CPU).double()
    start, c = torch.randn(2, 50, 3, generator=generator(), dtype=torch.float64)
    for path in ("torch.randn", "diffusers.schedulers.scheduling_ddpm.randn_tensor"):
        monkeypatch.setattr(path, lambda shape, **_: start.new_zeros(shape))
    # The two of noise over signal leave the little signal out of the start.
    scale = 1.0 if name == "diffusers" else network.process.noise(bench.STEPS - 1)
    with torch.no_grad():
        found = LOOPS[name](network, start / scale, c, generator())
    monkeypatch.undo()
    noise = iter([start])
    *_, last = reverse(network, c, DDPM(), lambda: next(noise, torch.zeros_like(start)))
    tolerance = 1e-3 if name == "diffusers" else 1e-5  # the schedule in float32
    torch.testing.assert_close(found, last.y, rtol=tolerance, atol=tolerance)


def test_operations_are_those_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted at the products themselves."""
    counted = 0
    mm = torch.mm

    def count(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        nonlocal counted
        counted += 2 * a.shape[0] * a.shape[1] * b.shape[1]
        return mm(a, b, out=out)

    work = bench.training_products(bench.network_on(CPU), 10, 3)
    monkeypatch.setattr(torch, "mm", count)
    work()
    assert counted == 3 * bench.operations(10)


def test_chunks_cover_everything() -> None:
    assert bench.sizes_of(5000, 2048) == [2048, 2048, 904]


@needs_chromium
def test_the_widget_is_timed_in_the_browser() -> None:
    times = widget_speed.browser_times(1)
    assert set(times) == set(widget_speed.SETTINGS)
    assert all(fast > 0 and plain > 0 for fast, plain in times.values())


def test_without_a_browser_the_widget_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(RuntimeError, match="needs Chromium"):
        widget_speed.browser_times(1)
