"""Home after home: the loop's laws, what is refused, and how a home is recognised."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import generator
from test_study import TINY
from torch import Tensor, nn

from dualdiff import metrics
from dualdiff.denoisers import Denoiser
from dualdiff.exact import exact_denoiser
from dualdiff.experiments import continual, continual_study, rounds
from dualdiff.experiments.continual import FOLDED, NOISED, Held, Loop, importance
from dualdiff.experiments.continual_study import (
    CHOSEN,
    EPISODES,
    SIZES,
    HomesTrial,
    homes_trials,
    log_ratio,
)
from dualdiff.experiments.homes import Arrival, Homes, cabinets
from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.rounds import TEACHERS, RoundsTrial, rounds_trials, specialist
from dualdiff.experiments.scenarios import cabinet
from dualdiff.experiments.store import Store
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.regions import Box
from dualdiff.training import fit

BRIEF = replace(TINY, finetune_epochs=TINY.specialised_epochs)
TUNED = RECIPES["tuned"]


def one_home(*order: str, known: bool = False, **more: Box) -> Homes:
    """The cabinet as a world of its own home, and of others."""
    own = cabinet()
    homes = (("own", own.specialised), *more.items())
    return Homes("cabinet", own.general, homes, order or ("own",), known)


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach() for p in network.parameters()]


# --- the loop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["finetuned", "replay", "generated"])
def test_with_one_home_it_is_the_adaptation_of_chapter_5(way: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    loop = Loop(one_home(), TUNED, BRIEF, 3, store)
    there = Networks(cabinet(), TUNED, BRIEF, 3, store).specialised(way)
    here = loop.folded(way, 1)
    assert all(map(torch.equal, weights(here.network), weights(there.network)))
    assert torch.equal(here.losses, there.losses)
    assert (
        len([*tmp_path.rglob("*.safetensors")]) == 3
    )  # one general network for both, and one of each


def test_everything_at_one_home_is_replay(tmp_path: Path) -> None:
    """The same rows and prior; the streams differ, so the weights do."""
    loop = Loop(one_home(), TUNED, BRIEF, 0, Store(tmp_path))
    one, other = (loop.asked(way, 0).options() for way in ("replay", "everything"))
    for name in ("y", "c"):
        assert torch.equal(one[name], other[name])
        assert torch.equal(getattr(one["prior"], name), getattr(other["prior"], name))
    assert one["epochs"] == other["epochs"]


LONGER = replace(BRIEF, general_epochs=3, finetune_epochs=60, conditions=200, draws=10)


def accuracies(way: str, world: Homes, arrivals: int, folder: Path, seeds: int = 3) -> np.ndarray:
    """Accuracy at the first home by seed."""
    found = []
    for seed in range(seeds):
        trial = HomesTrial(world, TUNED, LONGER, seed, way, arrivals)
        scores = trial.scores(Store(folder), "cpu", True)
        found.append(scores[world.homes[0][0], "accuracy"].value)
    return np.array(found)


def noticeably(difference: np.ndarray) -> float:
    """Its mean in standard errors over seeds."""
    return float(difference.mean() / (difference.std(ddof=1) / math.sqrt(len(difference))))


def test_of_identical_homes_nothing_is_forgotten(tmp_path: Path) -> None:
    world = one_home("own", "twin", twin=cabinet().specialised)
    before, after = (accuracies("finetuned", world, k, tmp_path) for k in (1, 2))
    assert noticeably(after - before) > -4
    away = one_home("own", "other", other=Box((0, 0, 0.5), (1, 1, 1)))
    lost = accuracies("finetuned", away, 2, tmp_path) - before
    assert noticeably(lost) < -4  # of another home it is: the test could fail


def test_replay_of_everything_is_training_on_everything(tmp_path: Path) -> None:
    world = one_home("own", "other", other=Box((0, 0, 0.5), (1, 1, 1)), known=True)
    replay, everything = (
        accuracies(way, world, 2, tmp_path, 4) for way in ("replay", "everything")
    )
    spread = math.sqrt((replay.var(ddof=1) + everything.var(ddof=1)) / len(replay))
    assert abs(replay.mean() - everything.mean()) < 4 * spread
    forgotten = accuracies("finetuned", world, 2, tmp_path, 4)
    assert replay.mean() - forgotten.mean() > 4 * spread


def test_a_return_has_fresh_pairs_and_every_arrival_its_own() -> None:
    world = one_home("own", "twin", "own", twin=cabinet().specialised)
    rows = [Arrival(world, k).pairs("specialised", 32, generator(0))[0] for k in range(3)]
    assert not any(torch.equal(rows[i], rows[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert torch.equal(rows[0], cabinet().pairs("specialised", 32, generator(0))[0])
    general = [Arrival(world, k).pairs("general", 32, generator(0))[0] for k in range(3)]
    assert torch.equal(general[0], general[2])


def test_general_rows_are_never_told_a_home_that_was_seen() -> None:
    world = cabinets(known=True)
    y, c = cabinet().pairs("general", 600, generator(0))
    for arrivals in range(len(world.order) + 1):
        offsets, codes = world.general_shown(y, c, arrivals)
        assert torch.allclose(offsets + c, y)
        told = codes.sum(0) > 0
        unseen = [name not in world.seen(arrivals) for name, _ in world.homes]
        assert told.tolist() == unseen
        assert bool((codes.sum(1) == 0).any())
    assert set(codes.sum(1).tolist()) == {0.0}  # all are seen


def test_what_is_taught_and_remembered_lies_where_it_is_asked(tmp_path: Path) -> None:
    world = cabinets(known=True)
    loop = Loop(world, TUNED, BRIEF, 0, Store(tmp_path))
    options = loop.asked("taught", 1).options()
    assert torch.equal(options["c"], world.code("beside", len(options["c"])))
    prior = options["prior"]
    assert bool((prior.c == world.code("corner", 1)).all(1).any())
    assert not bool((prior.c == world.code("beside", 1)).all(1).any())


# --- elastic weight consolidation -----------------------------------------------------------------


class Constant(Denoiser):
    """Predicts one number: its Fisher information is known."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.process = Process.linear(dy=1, dc=1)
        self.value = nn.Parameter(torch.tensor([value]))

    def forward(self, y: Tensor, t: Any, c: Tensor) -> Tensor:
        return self.value.expand_as(y)


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_importance_is_the_mean_square_of_the_gradient(value: float) -> None:
    r"""The gradient is :math:`a - \varepsilon`, so F is :math:`1 + a^2`, with variance
    :math:`2 + 4 a^2`."""
    y, c = torch.zeros(7, 1), torch.zeros(7, 1)
    (found,) = importance(Constant(value), y, c, generator(1))  # type: ignore[arg-type]
    error = math.sqrt((2 + 4 * value**2) / NOISED)
    assert abs(found.item() - 1 - value**2) < 4 * error


def test_a_held_network_stays_and_a_released_one_learns_as_ever() -> None:
    y, c = cabinet().pairs("specialised", 64, generator(0))
    options = {"epochs": 3, "batch_size": 32, "optimisation": TUNED.optimisation}

    def trained(pull: float | None) -> list[Tensor]:
        process = TUNED.process(y, c)
        network = MLP(process, Architecture(width=16, time="sinusoidal"), generator(2))
        learner: Denoiser = network
        if pull is not None:
            held = Held(network, [torch.full_like(p, pull) for p in network.parameters()])
            learner = held
        before = [p.detach().clone() for p in network.parameters()]
        for _ in fit(learner, y, c, generator=generator(3), **options):
            pass
        if pull is not None:
            held.release()
        return [a.detach() - b for a, b in zip(network.parameters(), before, strict=True)]

    free, unpulled, pulled = trained(None), trained(0.0), trained(1e6)
    for a, b in zip(free, unpulled, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    moved, stayed = (sum(float(p.square().sum()) for p in each) for each in (free, pulled))
    assert stayed < moved / 10


# --- recognising a home ---------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["general", "specialised"])
def test_the_log_ratio_of_exact_laws_is_that_of_their_densities(law: str) -> None:
    """A box in a box of eight times its volume: log 8 inside, far below zero outside."""
    own = cabinet()
    y, c = own.pairs(law, 128, generator(4))
    process = TUNED.process(*own.pairs("general", 4096, generator(5)))
    members = [exact_denoiser(region, process) for region in (own.specialised, own.general)]
    found = log_ratio(*members, y, c, generator(6))
    inside = own.specialised.contains(y, c)
    error = float(found[inside].std()) / math.sqrt(int(inside.sum()))
    assert abs(float(found[inside].mean()) - math.log(8)) < 4 * error
    assert error < 0.1
    # The nearest of the points outside may be a hair away from the border.
    assert (found[~inside] < 0).double().mean() > 0.98 if law == "general" else inside.all()


def test_the_ratio_of_a_model_to_itself_is_zero() -> None:
    own = cabinet()
    y, c = own.pairs("general", 8, generator(0))
    exact = exact_denoiser(own.general, TUNED.process(y, c))
    assert bool((log_ratio(exact, exact, y, c, generator(0)) == 0).all())


@pytest.mark.parametrize("way", CHOSEN)
def test_an_exact_specialist_is_recognised(way: str) -> None:
    """With exact members eight pairs name the home, and that a home is new."""
    world = cabinets(order=("corner", "opposite", "far"))
    laws = dict(world.homes)
    process = TUNED.process(*cabinet().pairs("general", 4096, generator(5)))
    exact = {name: exact_denoiser(law, process) for name, law in laws.items()}
    general = exact_denoiser(world.general, process)

    class Known(NamedLoop):
        def specialist(self, number: int) -> Any:
            return Kept(exact[world.order[number]])

    trial = HomesTrial(world, TUNED, replace(BRIEF, conditions=EPISODES, draws=5), 0, way, 2)
    loop = Known(general)
    conditions = cabinet().conditions(EPISODES, generator(7))
    for home in ("corner", "opposite", "above"):
        y, notes = trial.sampled(loop, conditions, home)  # type: ignore[arg-type]
        assert y.shape == (EPISODES, 5, 3)
        assert notes["recognised"] == 1
        region = laws[home] if home != "above" else world.general
        assert metrics.accuracy(y, conditions, region).value > 0.9


class Kept:
    def __init__(self, network: Denoiser) -> None:
        self.network = network


class NamedLoop:
    def __init__(self, general: Denoiser) -> None:
        self.general = general


# --- trials and refusals --------------------------------------------------------------------------


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few pairs are remembered, taught and noised, and a home is recognised a few times."""
    monkeypatch.setattr(continual, "NOISED", 32)
    monkeypatch.setattr(continual_study, "EPISODES", 4)
    monkeypatch.setattr(continual_study, "SCORE_DRAWS", 8)
    for module in (continual, rounds):
        monkeypatch.setattr(module, "REMEMBERED", 256)


@pytest.mark.usefixtures("brief")
def test_every_way_is_judged_at_every_home(tmp_path: Path) -> None:
    store, size = Store(tmp_path), replace(BRIEF, conditions=4, draws=5)
    for known in (True, False):
        world = cabinets(order=("corner", "far"), known=known)
        ways = [*FOLDED, "specialists", "joint", "joint_smc", *(() if known else CHOSEN)]
        for way in ways:
            found = HomesTrial(world, TUNED, size, 0, way, 2).table(store)
            places = found[found["metric"] == "accuracy"]
            assert [*places["target"]] == [*dict(world.homes), "general"]
            assert found[found["target"] == "run"]["metric"].tolist() == ["seconds", "stored"]
            assert found["value"].between(0, 1 + 1e-9)[found["target"] != "run"].all()


def test_the_order_so_far_is_all_that_a_trial_depends_on() -> None:
    def config(*order: str) -> dict[str, Any]:
        return HomesTrial(cabinets(order=order), TUNED, BRIEF, 0, "replay", 2).config()

    assert config("corner", "far") == config("corner", "far", "above")
    assert config("corner", "far") != config("far", "corner")


@pytest.mark.parametrize("profile", PROFILES)
def test_trials_cover_every_combination_once(profile: str) -> None:
    for some in (homes_trials(profile, 4), rounds_trials(profile, 4)):
        assert len({trial.key for trial in some}) == len(some)
        assert {trial.seed for trial in some} == set(range(4, 4 + SIZES[profile][2]))
    assert len(cabinets().order) >= 5 and len({*cabinets().order}) >= 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"homes": ()}, "at least one home"),
        ({"order": ()}, "at least one home"),
        ({"order": ("own", "none")}, "order has 'none'"),
        ({"homes": (("own", Box((0, 0, 0), (1, 1, 1))),) * 2}, "two homes are called 'own'"),
        ({"homes": (("own", Box((0, 0), (1, 1))),)}, "dimensions"),
    ],
)
def test_worlds_that_make_no_sense(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(one_home(), **changes)


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="overlap must be from 0 to 1, not 2"):
        cabinets(overlap=2)
    with pytest.raises(ValueError, match="distance must be"):
        cabinets(distance=math.nan)
    loop = Loop(one_home(), TUNED, BRIEF, 0, Store(tmp_path))
    with pytest.raises(ValueError, match="way must be one of"):
        loop.folded("forgetting", 1)
    with pytest.raises(ValueError, match="arrivals must be from 0 to 1, not 2"):
        loop.folded("replay", 2)
    for way, arrivals, words in (
        ("replay", 0, "from 1 to 1"),
        ("general", 1, "from 0 to 0"),
        ("none", 1, "way must be"),
    ):
        with pytest.raises(ValueError, match=words):
            HomesTrial(one_home(), TUNED, BRIEF, 0, way, arrivals)
    with pytest.raises(ValueError, match="way must be"):
        HomesTrial(one_home(known=True), TUNED, BRIEF, 0, "chosen_score", 1)
    with pytest.raises(ValueError, match="profile must be"):
        homes_trials("huge", 0)


# --- rounds ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("brief")
def test_every_round_learns_from_the_one_before(tmp_path: Path) -> None:
    networks = Networks(cabinet(), TUNED, BRIEF, 0, Store(tmp_path))
    found = [specialist(networks, "sum", k).network for k in range(3)]
    assert torch.equal(weights(found[0])[0], weights(networks.specialised().network)[0])
    assert not torch.equal(weights(found[1])[0], weights(found[2])[0])
    for teacher in TEACHERS:
        trial = RoundsTrial(cabinet(), TUNED, BRIEF, 0, f"{teacher} in round 1")
        assert "accuracy" in set(trial.table(Store(tmp_path))["metric"])


def test_other_rounds_are_refused() -> None:
    for name in ("sum", "none in round 1", "sum in round -1"):
        with pytest.raises(ValueError, match="in round 0, 1"):
            RoundsTrial(cabinet(), TUNED, BRIEF, 0, name)
