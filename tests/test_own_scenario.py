"""A scenario of one's own: it goes wherever those of the book go (``annulus.py`` is all of it)."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from annulus import Ring, annulus, shelf
from code_lines import ROOT
from conftest import generator

from dualdiff.exact import EXACT, ExactBox, exact_denoiser
from dualdiff.experiments import profiles, weighting
from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.scenarios import SCENARIOS, Scenario, make_scenario
from dualdiff.experiments.study import ScenarioTrial, study
from dualdiff.experiments.weighting import WEIGHTINGS, WeightTrial, folds, sized
from dualdiff.metrics import METRICS
from dualdiff.plots import regions
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.regions import Box
from dualdiff.weights import held_out_score, learn
from dualdiff.widgets.composition import Composition
from dualdiff.widgets.stages import network_stage

SIZES = {"n_general": 256, "n_specialised": 16, "conditions": 6, "draws": 20}
EPOCHS = {"general_epochs": 1, "specialised_epochs": 2, "finetune_epochs": 2}
TINY = replace(sized("smoke"), **SIZES, **EPOCHS)
WORLDS = [(annulus(), "plain"), (annulus(), "tuned"), (shelf(), "plain")]
OWN = pytest.mark.parametrize(("world", "recipe"), WORLDS, ids=lambda x: getattr(x, "name", x))


def test_the_distance_to_the_ring_is_that_to_the_nearest_of_many_draws() -> None:
    """Where there is a distance there is no cell."""
    for ring in (Ring(1.0, 2.0), Ring(1.0, 2.0, turn=2.0)):
        u = 2 * torch.randn(500, 2, generator=generator(3))
        far = ring.distance(u, torch.zeros(2))
        drawn = ring.draw(torch.zeros(20_000, 2), generator(4))
        torch.testing.assert_close(far, torch.cdist(u, drawn).amin(1), rtol=0, atol=0.06)
        assert torch.equal(ring.cells(u, torch.zeros(2)) >= 0, far == 0)


@OWN
def test_it_is_studied(world: Scenario, recipe: str, store) -> None:
    table = study(world, [RECIPES[recipe]], TINY, 0, store=store)
    assert set(table["metric"]) == set(METRICS) and len(table["configuration"].unique()) == 5
    assert table.loc[table["metric"] == "accuracy", "value"].between(0, 1).all()


def test_its_networks_learn_it(store) -> None:
    """Where the specialised model is, and that the general one has no preference for it."""
    size = replace(TINY, n_general=4096, general_epochs=30, conditions=50, specialised_epochs=300)
    size = replace(size, n_specialised=128)
    table = study(annulus(), [RECIPES["tuned"]], size, 0, store=store)
    hits = table[table["metric"] == "accuracy"].set_index("configuration")["value"]
    assert hits["general"] < 0.6 < hits["specialised"]


def test_what_a_recipe_or_exact_members_cannot_do_is_said(store) -> None:
    refused = {
        "'tuned' works in the frame y - c.*not 3 and 2.*object_frame=False": (
            shelf(),
            RECIPES["tuned"],
        ),
        "no exact denoiser for a region of type Ring": (annulus(), "exact"),
    }
    for message, (world, recipe) in refused.items():
        with pytest.raises(ValueError, match=message):
            study(world, [recipe], TINY, 0, store=store)
    tuned = RECIPES["tuned"]
    free = replace(tuned, name="free", architecture=replace(tuned.architecture, object_frame=False))
    assert len(study(shelf(), [free], TINY, 0, store=store)) == 5 * len(METRICS)


def test_a_law_of_ones_own_may_have_an_exact_denoiser(store, monkeypatch) -> None:
    class Half(Box):
        pass

    half, process = Half((-1.0, -1.0), (0.0, 1.0)), Process.linear(dy=2, dc=2)
    world = Scenario("half", Box((-1.0, -1.0), (1.0, 1.0)), half, (0.0, 0.0), (1.0, 1.0))
    trial, keys = ScenarioTrial(world, "exact", TINY, 0, "specialised"), set()
    for scale in (1.0, 0.5):

        def make(region, process, scale=scale):
            return ExactBox(process, region.low, tuple(scale * x for x in region.high))

        monkeypatch.setitem(EXACT, Half, make)
        keys.add(json.dumps(trial.code()))
        assert exact_denoiser(half, process).high[1] == scale
        table = trial.table(store)
        assert table.loc[table["metric"] == "accuracy", "value"].item() > 0.95
    assert len(keys) == 2  # another maker is another result


@OWN
def test_its_weights_are_learned(world: Scenario, recipe: str, store) -> None:
    trial = WeightTrial(world, RECIPES[recipe], TINY, 0, "learned constant")
    table = trial.table(store)
    assert set(table["target"]) == {"specialised", "run"} and trial.configuration in WEIGHTINGS
    networks = Networks(world, RECIPES[recipe], TINY, 0, store)
    score = held_out_score(folds(networks, "specialised"), lambda: stream(0, "w"), draws=4)
    found = learn(score, weighting.NAMES, budget=7)
    assert np.isfinite(found.score) and len(found.tried) > 3


@OWN
@pytest.mark.usefixtures("drawing")
def test_it_is_drawn(world: Scenario, recipe: str, store) -> None:
    """In the plane one view, in space two; outlines where the law is."""
    c, dim = (1.0, 2.0), world.general.dim
    rows = {w: world.pairs(w, 30, generator(1)) for w in ("general", "specialised")}
    data = regions.data_figure(world, rows, c)
    assert len(data.axes) == 2
    points = world.specialised.draw(torch.tensor([c]), generator(4), 20)[0]
    figure = regions.scatter_figure({"joint": points}, world, c)
    assert len(figure.axes) == dim - 1
    for patch, which in zip(figure.axes[0].patches, ("general", "specialised"), strict=True):
        ends = np.array(world.region(which).frame())[:, :2] + np.array(c)
        drawn = patch.get_path().vertices
        np.testing.assert_allclose([drawn.min(0), drawn.max(0)], ends, atol=0.05)
    stage = network_stage(Networks(world, RECIPES[recipe], TINY, 0, store))
    assert len(stage.panels) == dim - 1 and len(stage.condition) == 2
    widget = Composition({world.name: stage}, points=50, steps=5)
    assert widget.samples().shape == (50, dim) and len(widget.picture().axes) == dim - 1
    widget.close()
    plt.close("all")


def test_a_process_knows_what_is_entered(monkeypatch) -> None:
    with pytest.raises(ValueError, match="'annulus'; it must be one of 'cabinet', 'round_table'"):
        profiles.check(scenario="annulus")
    monkeypatch.setitem(SCENARIOS, "annulus", annulus)
    profiles.check(scenario="annulus")
    assert make_scenario("annulus") == annulus()
    monkeypatch.setitem(SCENARIOS, "annulus", "annulus:shelf")
    assert make_scenario("annulus").name == "shelf"
    monkeypatch.setitem(SCENARIOS, "annulus", "annulus:moon")
    with pytest.raises(ValueError, match="'annulus' stands for annulus:moon: .*moon"):
        make_scenario("annulus")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pip install`` makes of a package of three files: the module, and its entry point."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "annulus.py").write_bytes((ROOT / "tests" / "annulus.py").read_bytes())
    known = folder / "annulus-1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: annulus\nVersion: 1.0\n")
    (known / "entry_points.txt").write_text("[dualdiff.scenarios]\nannulus = annulus:annulus\n")
    return folder


def test_a_sweep_of_the_chapter_runs_at_it(installed: Path, tmp_path: Path) -> None:
    """Chapter 02 with the line that makes a notebook fit for sweeps, as chapter 11 says."""
    chapter = json.loads((ROOT / "notebooks" / "02_synthetic_scenarios.ipynb").read_text())
    ends = {"metadata": {}, "outputs": [], "execution_count": None, "id": "handed-over"}
    source = "from dualdiff.publish.sweep import record\nrecord(runs)"
    chapter["cells"].append({"cell_type": "code", "source": source, **ends})
    (tmp_path / "own.ipynb").write_text(json.dumps(chapter))
    grid = "{parameters: {profile: smoke, quiet: true}, grid: {scenario: [annulus]}}"
    (tmp_path / "grid.yaml").write_text(grid)
    environment = {**os.environ, "PYTHONPATH": str(installed), "MPLBACKEND": "agg"}
    environment["DUALDIFF_STORE"] = str(tmp_path / "store")
    command = [sys.executable, "-m", "dualdiff.publish.cli", "sweep", "own.ipynb", "-f"]
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    ran = subprocess.run([*command, "grid.yaml", "--workers", "1"], **options)
    assert ran.returncode == 0, ran.stderr
    table = pd.read_parquet(tmp_path / "grid-sweep" / "table.parquet")
    assert set(table["scenario"]) == {"annulus"} and set(table["recorded_recipe"]) == {*RECIPES}
    done = subprocess.run([*command, "grid.yaml", "--list"], **options).stdout
    module = installed / "annulus.py"
    module.write_text(module.read_text().replace("Ring(1.0, 2.0),", "Ring(1.0, 2.5),"))
    now = subprocess.run([*command, "grid.yaml", "--list"], **options).stdout
    assert done.split()[-1] == "done" and now.split()[-2:] == ["to", "run"]
