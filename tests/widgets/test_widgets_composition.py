"""The composition widget: its browser sampler equals torch, its controls move its samples."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from annulus import annulus, shelf
from browser import needs_chromium
from conftest import generator
from scipy import stats as laws
from widget_page import (
    frames,
    nothing_is_presented,
    overflow,
    pixels,
    said,
    saves,
    settled,
    shown,
    state,
    theme,
)

from dualdiff import metrics
from dualdiff.chunks import chunked
from dualdiff.compose import Weighted
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.exact import ExactBox
from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import Scenario, cabinet, round_table
from dualdiff.experiments.scenes import Plane, ring_and_bar
from dualdiff.experiments.store import Store
from dualdiff.randomness import stream
from dualdiff.regions import Region
from dualdiff.robot.members import Networks as RobotNetworks
from dualdiff.robot.settings import SCALES, SETTINGS
from dualdiff.samplers import DDPM
from dualdiff.widgets import mirror
from dualdiff.widgets.assemble import assembled
from dualdiff.widgets.base import Refused
from dualdiff.widgets.bundle import FOLDER, bundle
from dualdiff.widgets.composition import ASKED, Composition
from dualdiff.widgets.mirror import RULES, SAMPLERS, HashNoise, Request, normals, run, uniforms
from dualdiff.widgets.robot import robot_stage
from dualdiff.widgets.stages import Grid, Stage, grid_floor, network_stage, plane_stage
from dualdiff.widgets.wire import wire


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    """A stage of every kind, with networks that were trained a little."""
    store = Store(tmp_path_factory.mktemp("store"))
    smoke = PROFILES["smoke"]

    def trained(world: Scenario, recipe: str) -> Stage:
        return network_stage(Networks(world, RECIPES[recipe], smoke, 0, store))

    return {
        "cabinet": trained(cabinet(), "plain"),
        "round_table": trained(round_table(), "tuned"),
        "annulus": trained(annulus(), "tuned"),
        "shelf": trained(shelf(), "plain"),
        "ring_and_bar": plane_stage(ring_and_bar(), "A ring and a bar."),
        "robot": robot_stage(RobotNetworks(SETTINGS["metric"], SCALES["smoke"], 0, store)),
    }


MOVED = ("cabinet", "round_table", "annulus", "shelf")
WALLED = ("cabinet", "round_table", "ring_and_bar")
SCENES = (*MOVED, "ring_and_bar", "robot")


def request(stage: Stage, rule: str, **changed: Any) -> Request:
    plain = Request(rule, 0.7, 1.2, 1.4, "dpm++", 12, 100, 3, stage.condition)
    return replace(plain, **changed)


def double(stage: Stage) -> Stage:
    """The stage with networks in float64."""
    return replace(stage, members={k: copy.deepcopy(m).double() for k, m in stage.members.items()})


# --- noise --------------------------------------------------------------------------------------


def test_hashed_numbers_are_uniform_and_normal_and_do_not_repeat() -> None:
    u = uniforms(0, 0, 100_000)
    assert u.min() > 0 and u.max() < 1 and len(np.unique(u)) > 99_990
    assert laws.kstest(u, "uniform").pvalue > 1e-3
    z = normals(5, 2, 50_000, 2).numpy()
    assert laws.kstest(z.ravel(), "norm").pvalue > 1e-3
    # Neighbours, steps and seeds have nothing to do with each other: 4 / sqrt(n).
    others = (normals(5, 3, 50_000, 2).numpy(), normals(6, 2, 50_000, 2).numpy())
    pairs = [(z[:, 0], z[:, 1]), (z[1:, 0], z[:-1, 0]), *((z[:, 0], o[:, 0]) for o in others)]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_fewer_samples_are_the_first_of_many_and_noise_counts_its_calls() -> None:
    assert torch.equal(normals(1, 4, 100, 3), normals(1, 4, 500, 3)[:100])
    assert not torch.equal(normals(1, 4, 100, 3), normals(2, 4, 100, 3))
    noise = HashNoise(1, 4, 2, torch.float64)
    assert torch.equal(noise(), normals(1, 0, 4, 2)) and torch.equal(noise(), normals(1, 1, 4, 2))
    assert not torch.equal(noise.uniform(), noise.uniform())


# --- torch's side -------------------------------------------------------------------------------


def test_the_corrected_chain_is_that_of_the_module(
    stages: dict[str, Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stages["ring_and_bar"]
    asked = request(stage, "smc", points=200)
    rule = Weighted(stage.members, {name: asked.weights[name] for name in stage.members})
    c = torch.tensor([stage.condition])
    way = {"resampling": mirror.RESAMPLING, "sampler": DDPM(asked.steps)}
    ours = product(rule, c, generator(4), draws=200, **way)
    block = mirror.RESAMPLING.group * 20  # as `in_chunks` cuts it
    ((_, _, noise),) = chunked([rule], c, generator(4), 200, None, block)
    monkeypatch.setattr(mirror, "HashNoise", lambda *_: noise)
    torch.testing.assert_close(run(stage, asked).samples, ours.samples[0])


@pytest.mark.parametrize("name", SCENES)
def test_one_weight_gives_one_model(stages: dict[str, Stage], name: str) -> None:
    stage = stages[name]
    alone = run(stage, request(stage, "sum", w_general=0.0, w_specialised=1.0)).samples
    for rule in ("composable", "guidance"):
        same = request(stage, rule, w_general=0.0, w_specialised=1.0, guidance=1.0)
        torch.testing.assert_close(run(stage, same).samples, alone)
    other = run(stage, request(stage, "sum", w_general=1.0, w_specialised=0.0)).samples
    assert not torch.allclose(other, alone, atol=1e-3)


@pytest.mark.parametrize("name", WALLED)
def test_a_wall_keeps_samples_on_its_left(stages: dict[str, Stage], name: str) -> None:
    """Without a weight it is not there; with one few samples lie behind it."""
    stage, origin = stages[name], stages[name].origin(stages[name].condition)
    plain = request(stage, "sum", sampler="ancestral", steps=60, points=500)
    free, none = (run(stage, asked).samples for asked in (plain, replace(plain, wall=0.1)))
    assert torch.equal(free, none)
    at = float((free - origin)[:, 0].quantile(0.4).double())
    left, right = stage.panels[0].x
    share = (at - left) / (right - left)
    kept = run(stage, replace(plain, w_wall=1.0, wall=share)).samples - origin
    assert float((kept[:, 0] > at + 0.02 * (right - left)).double().mean()) < 0.05
    assert float(((free - origin)[:, 0] > at).double().mean()) > 0.5


def test_a_scene_without_a_wall_ignores_its_weight(stages: dict[str, Stage]) -> None:
    found = Composition(stages, scene="robot", w_wall=1.0)
    assert found.request().weights["wall"] == 0
    with pytest.raises(Refused, match="no wall"):
        run(stages["robot"], request(stages["robot"], "sum", w_wall=1.0))
    for trait, value in (("w_wall", -1.0), ("wall", 1.5)):
        with pytest.raises(Refused, match=trait):
            setattr(found, trait, value)
    found.close()


def test_weights_without_a_product_are_refused(stages: dict[str, Stage]) -> None:
    stage = stages["ring_and_bar"]
    with pytest.raises(Refused, match="positive sum.*-1 and 0.5"):
        run(stage, request(stage, "sum", w_general=-1.0, w_specialised=0.5))


def test_the_floor_of_a_grid_is_what_perfect_samples_score() -> None:
    source = generator()
    masses = torch.rand(6, 6, generator=source).double() ** 3
    masses /= masses.sum() * 1.25  # a fifth lies outside the grid
    n, p = 80, torch.cat([masses.flatten(), torch.tensor([0.2])])
    drawn = torch.multinomial(p, n * 4000, replacement=True, generator=source).view(4000, n)
    counts = torch.nn.functional.one_hot(drawn, 37).sum(1).double() / n
    seen = 0.5 * (counts - p).abs().sum(1)
    assert abs(float(seen.mean()) - grid_floor(masses, n)) < 4 * float(seen.std()) / 4000**0.5


# --- the widget in Python -----------------------------------------------------------------------


@pytest.fixture
def widget(stages: dict[str, Stage]) -> Iterator[Composition]:
    found = Composition(stages, scene="ring_and_bar", steps=20, points=200)
    yield found
    found.close()


def test_wrong_starts_are_refused(stages: dict[str, Stage]) -> None:
    with pytest.raises(Refused, match="weight is not one of scene, rule"):
        Composition(stages, weight=1.0)
    with pytest.raises(Refused, match="at least one scene"):
        Composition({})


def test_a_kernel_answers_every_change(widget: Composition) -> None:
    assert "numbers" not in widget.torch
    widget.source = "both"
    first = widget.torch
    assert first["settings"] == {name: getattr(widget, name) for name in ASKED}
    samples = np.frombuffer(first["numbers"], "<f4").reshape(200, 2)
    np.testing.assert_allclose(samples, run(widget.stage, widget.request()).samples.numpy())
    widget.w_general = 0.25
    assert widget.torch["settings"]["w_general"] == 0.25
    assert widget.torch["numbers"] != first["numbers"]
    with pytest.raises(Refused, match="condition must have 2 numbers"):
        widget.condition = [1.0]
        widget.request()


def test_a_kernel_tells_a_view_that_it_is_there(widget: Composition) -> None:
    sent: list[Any] = []
    widget.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    for message in ({"ask": "kernel"}, {"ask": "else"}):
        widget._handle_custom_msg(message, [])
    assert sent == [{"kernel": True}]


def test_weights_without_a_product_have_a_picture_without_samples(stages: dict[str, Stage]) -> None:
    found = Composition(stages, scene="ring_and_bar", w_general=-1.0, w_specialised=1.0)
    assert "no samples, the weights must have a positive sum" in found.describe()
    (axes,) = found.picture().axes
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 0
    assert "image/png" in found._repr_mimebundle_()[0]
    plt.close("all")


@pytest.mark.parametrize("name", SCENES)
def test_the_picture_and_its_words(stages: dict[str, Stage], name: str) -> None:
    found = Composition({name: stages[name]}, points=100, steps=5)
    data, metadata = found._repr_mimebundle_()
    assert data["image/png"] and "application/vnd.jupyter.widget-view+json" in data
    assert stages[name].title in metadata["image/png"]["alt"]


def test_what_the_browser_gets_is_small_and_plain(stages: dict[str, Stage]) -> None:
    for name, stage in stages.items():
        sent = wire(stage)
        assert len(sent["numbers"]) < 1_800_000, name
        plain = {key: value for key, value in sent.items() if key != "numbers"}
        assert len(json.dumps(plain)) < 150_000, name


# --- the widget in the browser ------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(stages: dict[str, Stage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page with all scenes, and ``window.core`` with the sampler's functions."""
    found = Composition(stages, scene="ring_and_bar", points=200, steps=20)
    with shown(found, tmp_path_factory.mktemp("page")) as view:
        view.evaluate(
            """async (text) => {
              const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
              window.core = await import(address);
            }""",
            bundle("core.js", exports=True),
        )
        settled(view)
        yield view


def sampled(
    view: Any,
    name: str,
    asked: Request,
    ancestors: list[Any] | None = None,
    floats: str = "Float64Array",
) -> Any:
    """The browser's samples, by default in float64, and the scores that it gives them."""
    left, right = view.evaluate("(name) => model.get('scenes')[name].panels[0].x", name)
    at = left + asked.wall * (right - left)
    return view.evaluate(
        """([name, settings, floats]) => {
          const { newsOf, openStage, reverse, scores, wantedAt } = window.core;
          const stage = openStage(window.model.get("scenes")[name]);
          const chain = reverse(stage, settings, window[floats]);
          let step = chain.next();
          while (!step.done) step = chain.next();
          const { last, states, timesteps } = step.value;
          const shown = states.subarray(states.length - last.length);
          return {
            samples: [...last], timesteps, shown: [...shown],
            scores: scores(stage, shown, settings.points, settings.wall, settings.shift),
            news: newsOf(stage, shown, settings.points, settings.shift),
            wanted: settings.shift[0] ? wantedAt(stage, settings.shift) : null,
          };
        }""",
        [
            name,
            {
                "corrected": asked.rule == "smc",
                "ancestral": asked.sampler == "ancestral",
                "group": mirror.RESAMPLING.group,
                "threshold": mirror.RESAMPLING.threshold,
                **{k: getattr(asked, k) for k in ("weights", "steps", "points", "seed")},
                "wall": at if asked.walled else None,
                "shift": list(asked.shift),
                "condition": list(asked.condition),
                **({"ancestors": [a.tolist() for a in ancestors]} if ancestors else {}),
            },
            floats,
        ],
    )


@needs_chromium
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SCENES)
def test_the_browser_samples_what_torch_samples(
    page: Any, stages: dict[str, Stage], name: str, rule: str, sampler: str
) -> None:
    asked = request(stages[name], rule, sampler=sampler)
    if name in MOVED:
        moved = tuple(c + d for c, d in zip(asked.condition, (1.3, -2.1, 0.0), strict=False))
        asked = replace(asked, condition=moved)
    ours = run(double(stages[name]), asked, torch.float64)
    theirs = sampled(page, name, asked, ours.ancestors)
    samples = torch.tensor(theirs["samples"], dtype=torch.float64).view(ours.samples.shape)
    torch.testing.assert_close(samples, ours.samples, rtol=1e-6, atol=1e-4)
    origin = stages[name].origin(asked.condition) if stages[name].framed else 0.0
    shown_at = torch.tensor(theirs["shown"], dtype=torch.float64).view(samples.shape)
    torch.testing.assert_close(shown_at, samples - origin, rtol=1e-4, atol=1e-4)
    assert theirs["timesteps"][-1] == -1 and len(theirs["timesteps"]) == asked.steps + 1


@needs_chromium
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", WALLED)
def test_a_wall_is_a_third_member_in_the_browser_as_in_torch(
    page: Any, stages: dict[str, Stage], name: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExactBox, "_bind", Denoiser._bind)  # the formula, not a table of it
    stage = stages[name]
    asked = request(stage, rule, sampler="ancestral", w_wall=0.8, wall=0.4)
    ours = run(double(stage), asked, torch.float64)
    theirs = sampled(page, name, asked, ours.ancestors)
    samples = torch.tensor(theirs["samples"], dtype=torch.float64).view(ours.samples.shape)
    torch.testing.assert_close(samples, ours.samples, rtol=1e-6, atol=1e-4)
    if rule == "guidance":  # which has no place for it
        assert not asked.walled and theirs["scores"]["total_variation"] >= 0
        return
    u = samples - stage.origin(asked.condition)
    behind = (u[:, 0] > stage.wall_at(0.4)).double().mean()
    assert theirs["scores"]["behind"] == pytest.approx(float(behind))
    assert "total_variation" not in theirs["scores"]


BY = (0.35, -0.2)


@needs_chromium
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["cabinet", "round_table", "ring_and_bar"])
def test_the_specialised_model_moves_in_the_browser_as_in_torch(
    page: Any, stages: dict[str, Stage], name: str, rule: str
) -> None:
    asked = request(stages[name], rule, sampler="ancestral", shift=BY)
    ours = run(double(stages[name]), asked, torch.float64)
    theirs = sampled(page, name, asked, ours.ancestors)
    samples = torch.tensor(theirs["samples"], dtype=torch.float64).view(ours.samples.shape)
    torch.testing.assert_close(samples, ours.samples, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", ["cabinet", "ring_and_bar"])
def test_a_moved_model_samples_the_moved_law(
    stages: dict[str, Stage], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain from noise moved by what is left of the shift there ends moved by all of it."""
    stage = stages[name]
    process = stage.process
    asked = request(stage, "sum", w_general=0.0, w_specialised=1.0, sampler="ancestral")
    here = run(double(stage), asked, torch.float64).samples
    by = torch.zeros(process.dy, dtype=torch.float64)
    by[:2] = torch.tensor(BY)

    class Moved(HashNoise):
        def __call__(self) -> torch.Tensor:
            first = self.steps == 0
            left = process.signal(process.steps - 1) * by / process.y_std.double()
            return super().__call__() + first * left

    monkeypatch.setattr(mirror, "HashNoise", Moved)
    there = run(double(stage), replace(asked, shift=BY), torch.float64).samples
    torch.testing.assert_close(there, here + by, rtol=0, atol=1e-6)


@needs_chromium
def test_where_a_model_is_moved_its_product_is_the_one_that_python_finds(
    page: Any, stages: dict[str, Stage]
) -> None:
    scene = ring_and_bar()
    bar = scene.specialised
    moved = Plane(
        *("moved", "moved"),
        (np.ones(8), *_parts(scene.general)),
        ([1.0], _parts(bar)[0] + np.array(BY), _parts(bar)[1]),
        reach=scene.reach,
    )
    stage = stages["ring_and_bar"]
    asked = request(stage, "sum", sampler="ancestral", shift=BY)
    found = sampled(page, "ring_and_bar", asked)
    wanted = plane_stage(moved, "").target
    assert isinstance(wanted, Grid)
    masses = torch.tensor(found["wanted"]["masses"], dtype=torch.float64)
    torch.testing.assert_close(masses.view(wanted.masses.shape), wanted.masses, atol=1e-6, rtol=0)
    inside = torch.tensor(found["wanted"]["inside"]).view(wanted.inside.shape)
    assert float((inside != wanted.inside).double().mean()) < 2e-4  # cells at the very level
    points = torch.tensor(found["shown"]).view(asked.points, 2)
    assert found["scores"]["total_variation"] == pytest.approx(on_grid(wanted, points)[0], abs=1e-6)
    floor = grid_floor(wanted.masses, asked.points)
    assert found["news"]["floor"] == pytest.approx(floor, abs=1e-6)
    # Closed lines around the cells that are inside: of their area, but for the corners.
    lines = [np.array(line) for line in found["news"]["outline"]]
    turned = [
        0.5 * np.sum(a[:, 0] * np.roll(a[:, 1], -1) - a[:, 1] * np.roll(a[:, 0], -1)) for a in lines
    ]
    cell = (2 * scene.reach / len(wanted.inside)) ** 2
    corners = sum(map(len, lines)) * cell / 4
    assert abs(sum(turned) - float(inside.sum()) * cell) < corners
    # Where both, one or neither have most of their mass.
    general, special = (
        level_of(stage.members[name], points - torch.tensor(by), scene)
        for name, by in (("general", (0.0, 0.0)), ("specialised", BY))
    )
    shares = found["news"]["shares"]
    expected = {
        "both": general & special,
        "general": general & ~special,
        "specialised": special & ~general,
        "neither": ~(general | special),
    }
    for name, where in expected.items():
        assert shares[name] == pytest.approx(float(where.double().mean()), abs=0.011)


def _parts(mixture: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariances of a mixture, in units of its process."""
    basis, variances = mixture.basis.numpy(), mixture.variances.numpy()
    return mixture.means.numpy(), np.einsum("kie,ke,kje->kij", basis, variances, basis)


def level_of(mixture: Any, points: torch.Tensor, scene: Plane) -> torch.Tensor:
    """Whether points lie where a mixture has the densest 95 % of its mass, as its grid knows it."""
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    grid = scene.log_clean(mixture).flatten().exp().sort(descending=True).values
    share = grid.cumsum(0) / grid.sum()
    found: torch.Tensor = mixture._log_density(points.double(), one, zero)
    return found >= grid[int((share < scene.HOLDS).sum())].log()


@needs_chromium
@pytest.mark.parametrize("name", ["cabinet", "round_table", "robot"])  # ReLU and SiLU
def test_single_precision_differs_by_rounding(
    page: Any, stages: dict[str, Stage], name: str
) -> None:
    assert page.evaluate("window.core.isFast()")  # or this compares nothing
    asked = request(stages[name], "sum", sampler="ancestral", points=150)
    exact = sampled(page, name, asked)["samples"]
    single = sampled(page, name, asked, floats="Float32Array")["samples"]
    away = torch.tensor(exact) - torch.tensor(single)
    assert 0 < float(away.abs().max()) < 2e-3


def test_the_compiled_loops_are_those_of_their_source() -> None:
    assert (FOLDER / "dense.js").read_text() == assembled()


@needs_chromium
def test_the_browser_chooses_the_same_ancestors(page: Any, stages: dict[str, Stage]) -> None:
    asked = request(stages["ring_and_bar"], "smc", points=500, steps=30)
    ours = run(stages["ring_and_bar"], asked, torch.float64).samples.flatten()
    theirs = torch.tensor(sampled(page, "ring_and_bar", asked)["samples"], dtype=torch.float64)
    # 30 resamplings of 500 places in float64: a border lies within 1e-12 of a weight in 1 of 10^7
    # runs, so none is crossed, and one that was would move a whole group.
    torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=1e-4)


@needs_chromium
@pytest.mark.parametrize("rule", ["sum", "smc"])
@pytest.mark.parametrize("name", SCENES)
def test_the_browser_scores_as_the_module_does(
    page: Any, stages: dict[str, Stage], name: str, rule: str
) -> None:
    stage = stages[name]
    asked = request(stage, rule, points=200)
    found = sampled(page, name, asked)
    points = torch.tensor(found["shown"], dtype=torch.float32).view(200, -1)
    ours = found["scores"]
    assert ours["unique"] == len(points.unique(dim=0)) / 200
    if isinstance(stage.target, Region):
        y, c = points[None], torch.zeros(1, len(stage.condition))
        source = stream(0, "bootstrap")
        variation = metrics.total_variation(y, c, stage.target, source).value
        hits = metrics.accuracy(y, c, stage.target).value
    else:
        variation, hits = on_grid(stage.target, points)
    # A law of one's own is judged by a table of its cells: points at their edges may be misjudged.
    edge = 0.02 if name in ("annulus", "shelf") else 0.0
    assert ours["accuracy"] == pytest.approx(hits, abs=1e-9 + edge)
    assert ours["total_variation"] == pytest.approx(variation, abs=1e-6 + 2 * edge)


def on_grid(target: Grid, points: torch.Tensor) -> tuple[float, float]:
    """Total variation and accuracy by numpy's histogram."""

    def share(bins: int) -> np.ndarray:
        ends = [[target.low[k], target.high[k]] for k in range(2)]
        return np.histogram2d(*points.double().numpy().T, bins=bins, range=ends)[0] / len(points)

    seen = share(len(target.masses))
    variation = 0.5 * (np.abs(seen - target.masses.numpy()).sum() + 1 - seen.sum())
    return float(variation), float(share(len(target.inside))[target.inside.numpy()].sum())


@needs_chromium
def test_a_weight_moves_the_samples(page: Any) -> None:
    page.evaluate("window.model.set('rule', 'sum')")
    settled(page)
    before, seen = state(page, "scores"), pixels(page)
    page.evaluate("window.model.set('w_general', 0.2)")
    settled(page)
    after = state(page, "scores")
    assert after != before and pixels(page) != seen
    assert after["points"] == 200 and after["steps"] == 20
    # Something rough came first.
    times = page.evaluate("document.querySelector('.dualdiff').view.times.slice(-2)")
    assert [t["points"] for t in times] == [100, 200]
    page.evaluate("window.model.set('w_general', 1)")
    settled(page)
    assert state(page, "scores") == before and pixels(page) == seen


REFUSED = {
    "sum zero": ({"w_general": -1, "w_specialised": 1}, "positive sum"),
    "sum below zero": ({"w_general": -1, "w_specialised": -0.5}, "positive sum"),
    "smc": ({"rule": "smc", "w_general": 0, "w_specialised": 0}, "positive sum"),
    "no number": ({"w_general": None}, "no number for w_general"),
    "scene": ({"scene": "moon"}, "no scene “moon”"),
    "rule": ({"rule": "magic"}, "no rule “magic”"),
    "sampler": ({"sampler": "heun"}, "no sampler “heun”"),
    "steps": ({"steps": 0}, "number of steps"),
    "condition": ({"condition": [1]}, "condition needs 2 numbers"),
}


@needs_chromium
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_sampled_presents_no_number(page: Any, what: str) -> None:
    """Set by a slider, or by a linked widget on a page without a kernel that would refuse it."""
    values, why = REFUSED[what]
    settled(page)
    before = pixels(page)
    page.evaluate(
        "values => { for (const [k, v] of Object.entries(values)) window.model.set(k, v) }", values
    )
    nothing_is_presented(page, why)
    page.wait_for_timeout(300)  # what was on its way is not presented either
    nothing_is_presented(page, why)
    if page.locator(".dualdiff-panels canvas").count():
        assert pixels(page) != before
    page.get_by_role("button", name="reset").click()
    settled(page)
    assert why not in said(page) and "%" in said(page)
    assert state(page, "w_general") == 1 and pixels(page) == before


@needs_chromium
def test_a_weight_dragged_too_far_says_so_at_once(page: Any) -> None:
    settled(page)
    for weight in (0.5, 0, -0.5, -0.95, -1):
        page.evaluate("w => window.model.set('w_general', w)", weight)
        page.wait_for_timeout(20)
    nothing_is_presented(page, "positive sum")
    page.get_by_role("button", name="reset").click()
    settled(page)


@needs_chromium
def test_another_scene_shows_nothing_of_the_one_before(page: Any) -> None:
    settled(page)
    worker = "document.querySelector('.dualdiff').view.worker"
    page.evaluate(f"{worker}.postMessage = () => 0")
    page.evaluate("window.model.set('scene', 'robot')")
    frames(page)
    assert "Computing" in said(page) and not page.locator(".dualdiff-score").count()
    page.evaluate(f"delete {worker}.postMessage")
    page.evaluate("document.querySelector('.dualdiff').view.opened.delete('robot')")
    page.evaluate("document.querySelector('.dualdiff').view.answered()")
    page.get_by_role("button", name="reset").click()
    settled(page)


@needs_chromium
def test_numbers_are_those_of_the_points_that_are_shown(page: Any) -> None:
    settled(page)
    for frame in (0, 7, 20):
        page.evaluate("frame => window.model.set('frame', frame)", frame)
        frames(page)
        share, variation = page.evaluate(
            """(frame) => {
              const { result } = document.querySelector(".dualdiff").view;
              const stage = window.core.openStage(window.model.get("scenes").ring_and_bar);
              const size = result.states.length / result.timesteps.length;
              const now = result.states.subarray(frame * size, (frame + 1) * size);
              const found = window.core.scores(stage, now, result.points);
              return [found.accuracy, found.total_variation];
            }""",
            frame,
        )
        assert f"{100 * share:.1f} %" in said(page) and f"{variation:.2f}" in said(page)
        # What chance alone would give is told of samples only.
        floor = page.evaluate("window.model.get('scenes').ring_and_bar.floors[200]")
        assert (f"{floor:.2f} is the noise of 200 samples" in said(page)) == (frame == 20)


@needs_chromium
def test_time_can_be_played_stopped_and_stepped(page: Any) -> None:
    last = state(page, "frame")
    assert last == 20
    page.get_by_title("One step back").click()
    assert state(page, "frame") == 19
    end = pixels(page)
    page.get_by_title("Play the reverse process").click()
    page.wait_for_function("window.model.get('frame') === 20", timeout=10_000)
    page.get_by_title("Play the reverse process").click()  # from the start again
    page.wait_for_function("window.model.get('frame') >= 3")
    page.get_by_title("Play the reverse process").click()
    stopped = state(page, "frame")
    assert stopped < 20 and pixels(page) != end
    page.wait_for_timeout(400)
    assert state(page, "frame") == stopped
    page.get_by_role("slider", name="step").focus()
    page.keyboard.press("End")
    assert state(page, "frame") == 20


@needs_chromium
def test_the_condition_moves_by_keyboard_and_by_pointer(
    page: Any, stages: dict[str, Stage]
) -> None:
    page.get_by_role("combobox", name="scene").select_option("round_table")
    settled(page)
    assert state(page, "condition") == list(stages["round_table"].condition)
    pad = page.locator(".dualdiff-pad canvas")
    pad.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    x, y, z = stages["round_table"].condition
    assert state(page, "condition") == [x + 0.25, y + 1, z]
    box = pad.bounding_box()
    page.mouse.click(box["x"] + 1, box["y"] + 1)
    low, high = stages["round_table"].movable[:2]
    assert state(page, "condition")[:2] == pytest.approx([low[0], high[1]], abs=0.3)
    settled(page)
    times = "document.querySelector('.dualdiff').view.times.length"
    before = page.evaluate(times)
    page.get_by_role("combobox", name="scene").select_option("ring_and_bar")
    settled(page)
    assert page.locator(".dualdiff-pad").count() == 0
    # Two results: nothing was sampled at the condition of the scene before.
    assert page.evaluate(times) == before + 2


@needs_chromium
def test_a_pointer_drags_the_wall(page: Any) -> None:
    assign = (
        "(v) => { for (const [k, x] of Object.entries(v)) model.set(k, x); model.save_changes(); }"
    )
    page.evaluate(assign, {"scene": "ring_and_bar", "rule": "smc", "w_wall": 1.0, "wall": 0.5})
    settled(page)
    before = pixels(page)
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 40)
    page.mouse.up()
    settled(page)
    assert 0.1 < state(page, "wall") < 0.35
    assert state(page, "scores")["behind"] < 0.05
    assert pixels(page) != before
    assert "behind the wall" in said(page)
    page.evaluate(assign, {"w_wall": 0.0, "rule": "sum"})
    settled(page)
    assert "behind the wall" not in said(page)


@needs_chromium
def test_torch_beside_the_browser(page: Any, stages: dict[str, Stage]) -> None:
    own = pixels(page)
    # Without a kernel torch cannot be chosen, nor is it waited for where the state asks for it.
    assert not page.get_by_role("combobox", name="computed by").count()
    page.evaluate("window.model.set('source', 'torch')")
    assert "orch" not in said(page) and pixels(page) == own
    assert page.evaluate("window.model.sent") == [{"ask": "kernel"}]
    page.evaluate("window.model.set('source', 'browser'); window.model.receive({ kernel: true })")
    frames(page)
    page.get_by_role("combobox", name="computed by").select_option("both")
    assert "Waiting for torch" in said(page)
    page.get_by_text("Torch does not answer").wait_for(timeout=10_000)
    page.evaluate("window.model.set('seed', 5)")  # and it is waited for no second time
    settled(page)
    assert "does not answer" in said(page) and "Waiting" not in said(page)
    page.evaluate("window.model.set('seed', 0)")
    settled(page)
    # What a kernel would send.
    stage = stages["ring_and_bar"]
    values = {name: state(page, name) for name in ASKED}
    plain = {k: v for k, v in values.items() if k not in ("scene", "condition")}
    asked = Request(**plain, condition=tuple(values["condition"]))
    numbers = run(stage, asked).samples.flatten().tolist()
    page.evaluate(
        """([settings, numbers]) => window.model.set("torch", {
          settings, numbers: new DataView(new Float32Array(numbers).buffer), points: 200, ms: 5,
        })""",
        [values, numbers],
    )
    frames(page)
    assert "torch: 5 ms" in said(page)
    assert pixels(page) != own
    page.get_by_role("combobox", name="computed by").select_option("browser")
    frames(page)
    assert pixels(page) == own


@needs_chromium
def test_dark_pages_and_phones(page: Any) -> None:
    light = pixels(page)
    theme(page, "dark")
    assert pixels(page) != light
    theme(page, "light")
    assert pixels(page) == light
    page.set_viewport_size({"width": 390, "height": 800})
    frames(page)
    assert overflow(page) <= 0
    page.set_viewport_size({"width": 800, "height": 900})


@needs_chromium
def test_linked_widgets_hear_of_it(page: Any) -> None:
    page.get_by_role("button", name="new noise").click()
    assert any("seed" in saved for saved in saves(page))


SET = "(v) => { for (const [k, x] of Object.entries(v)) model.set(k, x); model.save_changes(); }"


@needs_chromium
def test_the_specialised_region_is_dragged_by_pointer_and_by_keys(page: Any) -> None:
    page.evaluate(SET, {"scene": "ring_and_bar", "rule": "sum", "w_wall": 0.0, "seed": 0})
    page.evaluate(SET, {"shift": [0, 0]})
    settled(page)
    seen, before = pixels(page), state(page, "scores")
    box = page.locator("canvas").first.bounding_box()
    middle = (box["x"] + 0.54 * box["width"], box["y"] + 0.47 * box["height"])
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] - 0.2 * box["height"])
    page.mouse.up()
    settled(page)
    x, y = state(page, "shift")
    assert x == pytest.approx(0, abs=0.02) and 0.6 < y < 1.1
    assert state(page, "scores") != before and pixels(page) != seen
    assert f"moved by ({x:.2f}, {y:.2f})" in said(page)
    page.locator("canvas").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    assert state(page, "shift") == pytest.approx([x + 0.4, y - 0.08])
    # Elsewhere in the picture nothing is grabbed.
    now = state(page, "shift")
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.85 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.85 * box["height"])
    page.mouse.up()
    assert state(page, "shift") == now
    # Another scene has it where it was made; the robot's cannot be moved.
    page.evaluate("window.model.set('scene', 'robot')")
    settled(page)
    assert state(page, "shift") == [0, 0]
    page.evaluate(SET, {"shift": [0.5, 0.5]})
    settled(page)
    assert "moved by" not in said(page)
    page.get_by_role("button", name="reset").click()
    settled(page)
    assert state(page, "shift") == [0, 0]


@needs_chromium
def test_presets_and_the_range_of_the_weights(page: Any) -> None:
    weight = page.get_by_role("slider", name="weight, general")
    ends = "(one) => [one.min, one.max, one.value]"
    assert weight.evaluate(ends) == ["0", "2", "1"]
    assert weight.bounding_box()["width"] > 280
    page.get_by_role("button", name="general", exact=True).click()
    assert (state(page, "w_general"), state(page, "w_specialised")) == (1, 0)
    pressed = page.locator("[aria-pressed=true]")
    assert pressed.all_inner_texts() == ["general"]
    page.get_by_role("button", name="joint").click()
    assert pressed.all_inner_texts() == ["joint"]
    assert not page.get_by_role("button", name="learned").count()
    wide = page.get_by_label("from −1 to 3")
    wide.check()
    weight.focus()
    page.keyboard.press("Home")
    assert state(page, "w_general") == -1
    nothing_is_presented(page, "positive sum")
    wide.uncheck()  # which leaves no weight that its slider could not show
    assert state(page, "w_general") == 0 and weight.evaluate(ends)[:2] == ["0", "2"]
    page.evaluate(SET, {"w_general": 2.5})  # by a linked widget
    assert wide.is_checked() and weight.evaluate(ends) == ["-1", "3", "2.5"]
    page.evaluate(SET, {"w_general": 1.0})
    wide.uncheck()
    page.get_by_role("combobox", name="rule").select_option("guidance")
    assert not weight.is_visible()
    assert page.get_by_role("slider", name="guidance weight").is_visible()
    page.get_by_role("button", name="reset").click()
    settled(page)
    assert weight.is_visible()


@needs_chromium
def test_a_link_opens_the_widget_as_it_was(page: Any) -> None:
    # With a kernel, which a test before this one has played, there is no page to link to.
    page.evaluate("document.querySelector('.dualdiff').view.torch.kernel = false")
    page.evaluate("document.querySelector('.dualdiff').view.again()")
    asked = {"w_general": 0.25, "w_specialised": 1.5, "seed": 3, "rule": "smc"}
    page.evaluate(SET, {"scene": "cabinet"})
    page.evaluate(SET, {**asked, "shift": [0.1, -0.2], "condition": [0.5, 1.25, 1.5]})
    settled(page)
    scores = state(page, "scores")
    page.get_by_role("button", name="copy link").click()
    page.wait_for_function("location.hash.length > 1")
    address = page.evaluate("location.hash")
    assert address.startswith("#w=0.25,1.5&scene=cabinet")
    page.get_by_role("button", name="reset").click()
    settled(page)
    page.evaluate("window.location.hash = ''")
    page.evaluate("address => { window.location.hash = address }", address)
    page.wait_for_function("model.get('scene') === 'cabinet'")
    settled(page)
    assert {name: state(page, name) for name in asked} == asked
    assert state(page, "shift") == [0.1, -0.2] and state(page, "condition") == [0.5, 1.25, 1.5]
    assert state(page, "scores") == scores
    for wrong, why in {
        "w=1,0.5&scene=moon": "scene “moon”; there are",
        "w=1": "two numbers, such as w=1,0.5",
        "w=1,x": "two numbers, such as w=1,0.5",
        "w=1,1&colour=red": "The link sets colour",
        "w=1,1&rule=magic": "no rule “magic”",
        "w=1,1&steps=many": "number of steps",
        "w=1,1&shift=1": "needs 2 numbers",
        "w=-1,1": "positive sum",
    }.items():
        page.evaluate("hash => { window.location.hash = hash }", wrong)
        page.wait_for_timeout(100)
        nothing_is_presented(page, why)
    page.evaluate("window.location.hash = '#w=1,0.5&scene=ring'")  # the beginning of a name will do
    page.wait_for_function("model.get('scene') === 'ring_and_bar'")
    settled(page)
    assert state(page, "w_specialised") == 0.5 and "%" in said(page)
    page.evaluate("window.history.replaceState(null, '', location.href.split('#')[0])")
    page.get_by_role("button", name="reset").click()
    settled(page)


@needs_chromium
def test_the_picture_is_saved(page: Any) -> None:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="save picture").click()
    assert waiting.value.suggested_filename == "dualdiff-ring_and_bar.png"
    picture = plt.imread(waiting.value.path(), format="png")
    high, wide, _ = picture.shape
    canvas = page.locator("canvas").first.bounding_box()
    assert wide >= canvas["width"] - 1 and high > canvas["height"]
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
