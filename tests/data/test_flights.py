"""Real tables, and what one would fit to them without diffusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualdiff.data import flights
from dualdiff.data.compare import judged, scored
from dualdiff.data.peers import PEERS, neighbours
from dualdiff.experiments.members import Rows
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.store import Store
from dualdiff.randomness import stream

SLOPE = torch.tensor([[1.0, 0.0], [0.0, 0.5]])


def keep(_, make):  # type: ignore[no-untyped-def]
    return make()


def targets(c: torch.Tensor, noise: torch.Tensor, shift: float) -> torch.Tensor:
    """Linear in the conditions, both with noise of 0.5, correlated by 0.71."""
    spread = torch.stack([noise[..., 0], (noise[..., 0] + noise[..., 1]) / 2**0.5], -1)
    return c @ SLOPE + 0.5 * spread + shift


def rows(n: int, seed: int, shift: float = 0.5) -> Rows:
    source = stream(seed, "rows")
    c = torch.randn(n, 2, generator=source)
    return targets(c, torch.randn(n, 2, generator=source), shift), c


@pytest.mark.parametrize("name", PEERS)
def test_peers_find_a_known_distribution(name: str) -> None:
    """Nearer to the energy score of the truth than to that of the rows drawn again; intervals
    cover nearly what they should, and as often with the same seed."""
    make, pooled = PEERS[name]
    special, (y, c) = rows(300, 0), rows(300, 1)
    draw = make(special, rows(1_000, 2, 0.0) if pooled else None, stream(3, name), keep)
    samples = draw(c, 50, stream(4, "samples"))
    assert samples.shape == (300, 50, 2)
    source = stream(5, "truth")
    exact = targets(c[:, None], torch.randn(300, 50, 2, generator=source), 0.5)
    again = special[0][torch.randint(300, (300, 50), generator=source)]
    own, truth, floor = (judged(some, y) for some in (samples, exact, again))
    gaps = own["value"] - (truth["value"] + floor["value"]) / 2
    assert gaps.mean() < -2 * gaps.sem()
    assert 0.65 < own["covered"].mean() < 0.9
    assert torch.equal(samples, draw(c, 50, stream(4, "samples")))


def test_neighbours_take_all_rows_where_conditions_say_nothing() -> None:
    source = stream(0, "rows")
    y, c = torch.randn(60, 2, generator=source), torch.randn(60, 2, generator=source)
    draw = neighbours((y, c), None, stream(1, "choice"), keep)
    samples = draw(torch.zeros(1, 2), 4_000, stream(2, "samples"))[0]
    # The mean of what it draws is that of many rows, not of the five nearest ones.
    error = (samples.var(0) / len(samples)).sqrt()
    few = y[(c**2).sum(1).argsort()[:5]].mean(0)
    assert ((samples.mean(0) - few).abs() > 4 * error).any()


def test_flights_judge_or_teach_and_teach_the_same_in_every_size() -> None:
    small, large = (flights.pairs("carrier HA", 2_000, n, 0) for n in (30, 128))
    assert (len(small.special), len(large.special), len(large.general)) == (30, 128, 2_000)
    assert len(small.held_out) == flights.HELD_OUT
    assert torch.equal(small.held_out.joined, large.held_out.joined)
    assert torch.equal(small.special.joined, large.special.joined[:30])
    assert not large.special.shared(large.held_out).any()
    other = flights.pairs("carrier HA", 2_000, 30, 1)
    assert not torch.equal(other.held_out.joined, small.held_out.joined)
    # All of it flies to Honolulu, and the targets are asinh of minutes.
    assert small.special.c[:, 2].unique().tolist() == [4983]
    assert np.sinh(large.general.y[:, 0].numpy()).max() > 200


@pytest.mark.parametrize(
    ("group", "n", "words"),
    [
        ("carrier ZZ", 30, "'carrier' or 'dest' and one of its codes.*not 'carrier ZZ'"),
        ("month 7", 30, "'carrier' or 'dest'"),
        ("carrier HA", 500, "n_special must be 1 to 1.. for group 'carrier HA'.*it is 500"),
        ("carrier OO", 10, "group 'carrier OO': it has 29 flights"),
    ],
)
def test_groups_that_there_are_not_are_refused(group: str, n: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        flights.pairs(group, 2_000, n, 0)


def test_without_the_flights_it_is_said_what_to_install(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    flights.flights.cache_clear()
    monkeypatch.setattr(flights, "find_spec", lambda name: None)
    with pytest.raises(flights.NotInstalled, match=r"pip install 'dualdiff\[real\]'"):
        flights.flights()


def test_all_epochs_change_the_special_networks_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    plan = flights.flights_trials(PROFILES["smoke"], 0, {"carrier HA": (30,)})
    stopped, overtrained = (
        next(t for t in plan if (t.configuration, t.recipe_name) == ("specialised", recipe))
        for recipe in (flights.STOPPED, flights.FIXED)
    )
    store = Store(tmp_path)
    one, other = (trial.networks(store) for trial in (stopped, overtrained))
    for a, b in zip(
        one.general.network.parameters(), other.general.network.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    assert one.general.seconds == other.general.seconds  # one network, trained once
    assert len(other.specialised().losses) == stopped.profile.specialised_epochs
    assert other.specialised().held_out is None
    # Nor do their rows share a place in the store.
    assert not scored(one, "specialised").equals(scored(other, "specialised"))
    table = overtrained.table(store).set_index("metric")["value"]
    assert table["energy_score"] == pytest.approx(scored(other, "specialised")["value"].mean())
