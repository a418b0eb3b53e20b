"""The benchmark compares like with like; how fast anything is, is not a test."""

import pytest
import torch
import widget_speed
from browser import needs_chromium
from conftest import generator

from dualdiff.publish import bench


def test_every_contender_is_measured() -> None:
    (row,) = bench.measure([300], 1, quiet=True)
    assert row["n"] == 300 and row["limit chunk"] in bench.CHUNKS
    assert all(
        row[name] > 0 for name in ("ours", "diffusers", "diffusers, chunks of 2,048", "limit")
    )


def test_the_loops_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With noise switched off both loops are the same deterministic map of the same start."""
    network = bench._network()
    start = torch.randn(50, 3, generator=generator())
    ends: list[torch.Tensor] = []
    calls = iter([start])

    def noise(*shape, **_):  # type: ignore[no-untyped-def]
        return next(calls, torch.zeros(shape))

    monkeypatch.setattr(torch, "randn", noise)
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda shape, **_: torch.zeros(shape)
    )
    forward = type(network).forward

    def record(self, y, t, c):  # type: ignore[no-untyped-def]
        ends.append(y)
        return forward(self, y, t, c)

    monkeypatch.setattr(type(network), "forward", record)
    with torch.no_grad():
        bench.diffusers_loop(network, 50)()
    monkeypatch.undo()

    from dualdiff.samplers import DDPM, reverse

    calls = iter([start])
    states = list(
        reverse(network, torch.zeros(50, 3), DDPM(), lambda: next(calls, torch.zeros(50, 3)))
    )
    assert len(ends) == bench.STEPS
    torch.testing.assert_close(states[-2].y, ends[-1], rtol=1e-3, atol=1e-3)


def test_chunks_cover_everything() -> None:
    assert bench._sizes(5000, 2048) == [2048, 2048, 904]


def test_bad_values_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    from dualdiff.publish.cli import main

    assert main(["bench", "--sizes", "0"]) == 2
    assert "sizes and repeats must be at least 1" in capsys.readouterr().err


@needs_chromium
def test_the_widget_is_timed_in_the_browser() -> None:
    times = widget_speed.browser_times(1)
    assert set(times) == set(widget_speed.SETTINGS)
    assert all(fast > 0 and plain > 0 for fast, plain in times.values())


def test_without_a_browser_the_widget_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(RuntimeError, match="needs Chromium"):
        widget_speed.browser_times(1)
