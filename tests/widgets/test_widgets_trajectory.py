"""The scrubber: its points are the sampler's, and a reader can go through the steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import needs_chromium
from conftest import generator
from widget_page import overflow, pixels, saves, shown, state, theme

from dualdiff.experiments.scenarios import Scenario
from dualdiff.experiments.scenes import SCENES, Boxes, Plane, ring_and_bar
from dualdiff.process import Process
from dualdiff.regions import Box
from dualdiff.samplers import DDIM, DDPM, Sampler, trajectory
from dualdiff.widgets.trajectory import REACH, SIDE, Trajectory, product_law, trajectory_scrubber

SHORT = DDPM(steps=20)


def scrubber(**values: Any) -> Trajectory:
    options = {"n": 30, "frames": 11, "sampler": SHORT, "generator": generator(3)}
    return trajectory_scrubber(ring_and_bar(), **{**options, **values})


def boxes() -> Boxes:
    """The cabinet seen from above, in few steps."""
    general, specialised = (Box((-1.0, -1.0), (end, end)) for end in (1.0, 0.0))
    world = Scenario("above", general, specialised, (-4.0, -4.0), (6.0, 6.0))
    return Boxes("above", "cabinet from above", world, Process.linear(20, dy=2, dc=2))


@pytest.mark.filterwarnings("ignore::dualdiff.samplers.CollapseWarning")  # of the sum under DDIM
@pytest.mark.parametrize("sampler", [SHORT, DDIM(steps=12)], ids=["ddpm", "ddim"])
def test_points_are_those_of_the_sampler(sampler: Sampler) -> None:
    scene = ring_and_bar()
    widget = scrubber(sampler=sampler)
    denoisers = {"general": scene.general, "specialised": scene.specialised}
    denoisers |= {"sum": scene.rule("sum"), "product": product_law(scene)}
    assert widget.names == list(denoisers)
    for name, denoiser in denoisers.items():
        steps, states = trajectory(denoiser, torch.zeros(30, 2), generator(3), sampler=sampler)
        kept = [steps.index(t) for t in widget.steps]
        assert len(kept) == 11 and kept[0] == 0 and widget.steps[-1] == -1
        found = widget.states(name)
        assert found.shape == (11, 30, 2)
        # half a level of the 16 bits
        assert np.abs(found - states[kept].numpy()).max() <= widget.span / 65535 * 1.01


def test_runs_share_their_starts_and_the_generator_moves_on() -> None:
    source = generator(3)
    first = scrubber(generator=source)
    assert (first.states("general")[0] == first.states("product")[0]).all()
    assert first.points == scrubber().points
    assert first.points != scrubber(generator=source).points


def test_levels_of_noise_are_those_of_the_process() -> None:
    widget, process = scrubber(), ring_and_bar().process
    noised = list(zip(widget.steps, widget.signal, widget.noise, strict=True))[:-1]
    for t, signal, noise in noised:
        assert (signal, noise) == (process.signal(t), process.noise(t))
    assert (widget.steps[-1], widget.noise[-1], widget.signal[-1]) == (-1, 0.0, 1.0)


def test_the_product_law_is_the_product() -> None:
    for scene in (ring_and_bar(), lopsided()):
        clean = scene.log_clean(product_law(scene)).exp()
        assert torch.allclose(clean / clean.sum(), scene.target / scene.target.sum(), atol=1e-12)
    law = product_law(boxes())
    y, c = torch.linspace(-2, 2, 50)[:, None].repeat(1, 2), torch.zeros(50, 2)
    assert torch.equal(law.log_density(y, 5, c), boxes().specialised.log_density(y, 5, c))


def lopsided() -> Plane:
    """Mixtures in units that are not those of the data, nothing symmetric."""
    process = Process.linear(20, dy=2, dc=2)
    rows = torch.tensor([[0.0, 1.0], [3.0, 2.0], [1.0, 5.0]])
    process = process.standardised(rows, rows - rows.mean(0))
    tilted = [[[0.5, 0.2], [0.2, 0.3]], [[0.2, 0.0], [0.0, 0.6]]]
    general = ([0.3, 0.7], [[-0.5, 0.4], [0.6, -0.2]], tilted)
    specialised = ([0.6, 0.4], [[0.2, 0.5], [-0.3, -0.4]], tilted[::-1])
    return Plane("lopsided", "lopsided", general, specialised, 4.0, process)


def test_densities_are_the_noised_ones_relative_to_their_peak() -> None:
    widget, scene = scrubber(), ring_and_bar()
    law = product_law(scene)
    assert [run["shade"] for run in widget.runs] == [0, 1, 2, 2]
    shade = widget.density("sum")
    assert shade is not None and shade.shape == (11, SIDE, SIDE)
    frame, row, column = 8, 17, 24
    cell = 2 * REACH / SIDE
    y = torch.tensor([[(column + 0.5) * cell - REACH, REACH - (row + 0.5) * cell]])
    line = (torch.arange(SIDE) + 0.5) * cell - REACH
    everywhere = torch.cartesian_prod(line, line)
    t = widget.steps[frame]
    at = law.log_density(y, t, 0 * y)
    peak = law.log_density(everywhere, t, 0 * everywhere).max()
    value = float(255 * (at - peak).exp())
    assert 40 < value < 250, "a place that tells something"
    assert abs(shade[frame, row, column] - value) <= 0.51
    assert (shade.max((1, 2)) == 255).all()


def test_a_density_that_two_runs_share_is_stored_once() -> None:
    rules = ("general", "specialised", "sum", "composable")
    widget = trajectory_scrubber(boxes(), rules, n=5, frames=6, generator=generator())
    assert [run["shade"] for run in widget.runs] == [0, 1, 1, None]
    assert len(widget.shades) == 2 * 6 * SIDE**2
    assert widget.density("composable") is None and widget.density("general") is not None
    assert "image/png" in widget._repr_mimebundle_()[0]


def test_the_chapters_widget_is_small() -> None:
    widget = scrubber(n=200, frames=51, sampler=None)
    state = widget.get_state()
    raw = sum(len(bytes(state.pop(name))) for name in ("points", "shades"))
    assert raw * 4 / 3 + len(json.dumps(state, default=str)) < 600_000


def test_bad_requests_are_refused() -> None:
    for name, bad in (("rules", ["sums"]), ("rules", []), ("n", 0), ("frames", 1)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            scrubber(**{name: bad})
    with pytest.raises(ValueError, match="scene must have 2 coordinates, not 3"):
        trajectory_scrubber(SCENES["cabinet"](), generator=generator())
    process, way = Process.linear(5, dy=2, dc=2), torch.zeros(2, 4, 2)
    with pytest.raises(ValueError, match=r"states of 'sum' must be \[2, 4, 2\], not \[3, 4, 2\]"):
        Trajectory(process, [4, -1], {"general": way, "sum": torch.zeros(3, 4, 2)}, {})
    with pytest.raises(ValueError, match="at least one run"):
        Trajectory(process, [4, -1], {}, {})
    with pytest.raises(ValueError, match="boxes or mixtures"):
        product_law(object())  # type: ignore[arg-type]


@needs_chromium
def test_slider_and_buttons_move_the_points(tmp_path: Path) -> None:
    with shown(scrubber(), tmp_path) as view:
        slider, before = view.locator("input[type=range]"), pixels(view)
        words = view.locator("output")
        assert "noise σ = 1.00" in words.inner_text() and state(view, "frame") == 0
        slider.fill("6")
        assert state(view, "frame") == 6 and saves(view) == [{"frame": 6}]
        level = scrubber().noise[6]
        assert f"t = {scrubber().steps[6]}: noise σ = {level:.2f}" in words.inner_text()
        sixth = pixels(view)
        assert sixth != before

        view.get_by_label("One step on").click()
        assert state(view, "frame") == 7 and pixels(view) != sixth
        view.get_by_label("One step back").click()
        assert state(view, "frame") == 6 and pixels(view) == sixth
        slider.focus()
        view.keyboard.press("ArrowRight")
        assert state(view, "frame") == 7 and saves(view)[-1] == {"frame": 7}
        slider.fill("10")
        view.get_by_label("One step on").click()  # there is nothing after the samples
        assert state(view, "frame") == 10 and "Samples" in words.inner_text()


@needs_chromium
def test_play_advances_and_pause_stops(tmp_path: Path) -> None:
    with shown(scrubber(frames=20, n=5), tmp_path) as view:
        view.wait_for_timeout(300)
        assert state(view, "frame") == 0, "nothing plays by itself"
        play = view.get_by_role("button", name="Play")
        play.click()
        view.wait_for_function("window.model.get('frame') >= 3")
        view.get_by_role("button", name="Pause").click()
        stopped = state(view, "frame")
        assert 3 <= stopped < 19 and saves(view) == [{"frame": stopped}]
        view.wait_for_timeout(300)
        assert state(view, "frame") == stopped

        view.get_by_label("speed").select_option("fast")
        view.locator("input[type=range]").focus()
        view.keyboard.press(" ")
        view.wait_for_function("window.model.get('frame') === 19")
        play.wait_for()  # at the end it pauses by itself
        assert saves(view)[-1] == {"frame": 19}
        play.click()  # and begins anew
        view.wait_for_function("window.model.get('frame') < 19")
        view.evaluate("window.cleanup()")
        ended = state(view, "frame")
        view.wait_for_timeout(300)
        assert state(view, "frame") == ended, "a view that is gone plays no more"
        assert view.evaluate("window.model.listeners()") == 0


@needs_chromium
def test_runs_trails_theme_and_width_redraw(tmp_path: Path) -> None:
    with shown(scrubber(frame=5), tmp_path, 390) as view:
        assert overflow(view) <= 0
        seen = [pixels(view)]
        view.get_by_label("show").select_option("sum")
        assert state(view, "run") == "sum"
        assert "should follow the noised product" in view.locator("p").inner_text()
        seen.append(pixels(view))
        view.get_by_label("trails").check()
        seen.append(pixels(view))
        theme(view, "dark")
        seen.append(pixels(view))
        view.evaluate("window.model.set('run', 'elsewhere')")  # what a linked widget may know
        seen.append(pixels(view))
        for frame, shown_frame in ((99, 10), (-3, 0), (2.4, 2)):
            view.evaluate("frame => window.model.set('frame', frame)", frame)
            found = pixels(view)
            assert view.get_by_role("slider").input_value() == str(shown_frame)
            view.evaluate("frame => window.model.set('frame', frame)", shown_frame)
            assert pixels(view) == found
            seen.append(found)
        assert len(set(seen)) == len(seen)
        canvas = view.locator("canvas")
        narrow = canvas.evaluate("c => c.width")
        view.set_viewport_size({"width": 800, "height": 900})
        pixels(view)
        assert canvas.evaluate("c => c.width") > narrow
        assert "chains" in canvas.get_attribute("aria-label")


@needs_chromium
def test_points_are_drawn_where_they_are(tmp_path: Path) -> None:
    """One point of the second run: its colour is found at its place, not at the other run's."""
    way = torch.tensor([[[0.0, 0.0]], [[1.4, -0.7]]])
    process = Process.linear(5, dy=2, dc=2)
    runs = {"specialised": -way, "general": way}
    widget = Trajectory(process, [4, -1], runs, {}, run="general", frame=1)
    with shown(widget, tmp_path) as view:
        pixels(view)
        found = view.evaluate("""() => {
          const canvas = document.querySelector("canvas");
          const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let [n, x, y] = [0, 0, 0];
          for (let i = 0; i < data.length; i += 4) {
            const blue = data[i] < 60 && data[i + 2] > 140 && data[i + 3] > 150;
            if (blue) { n++; x += (i / 4) % width; y += Math.floor(i / 4 / width); }
          }
          return [n, x / n, y / n];
        }""")  # noqa: E501 - a script of the page
        inner = 420 - 30 - 6  # a panel alone
        assert found[0] > 5
        assert found[1] == pytest.approx(30 + (1.4 + REACH) / (2 * REACH) * inner, abs=1.5)
        assert found[2] == pytest.approx(24 + (REACH + 0.7) / (2 * REACH) * inner, abs=1.5)
