"""Recipes and the networks: networks made once, kept, and known by what made them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_study import TINY

from dualdiff.experiments import trained
from dualdiff.experiments.members import EPOCH, METHODS, RECIPES, Networks, Recipe
from dualdiff.experiments.scenarios import Scenario, cabinet, round_table
from dualdiff.experiments.store import Store
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.samplers import sample


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def train(scenario: Scenario, store: Store) -> Networks:
    networks = Networks(scenario, RECIPES["plain"], TINY, 0, store)
    for method in ("specialised", "finetuned"):
        networks.specialised(method)
    return networks


def count(folder: Path) -> int:
    return len(list(folder.rglob("*.safetensors")))


def test_networks_are_trained_once_and_shared(store: Store, tmp_path: Path) -> None:
    one = train(cabinet(), store)
    files = sorted(tmp_path.rglob("*.safetensors"))
    stamps = [f.stat().st_mtime_ns for f in files]
    assert len(files) == 3
    two = train(cabinet(), store)
    assert [f.stat().st_mtime_ns for f in files] == stamps
    for first, second in ((one.general, two.general), (one.specialised(), two.specialised())):
        for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(first.losses, second.losses) and first.seconds == second.seconds
    # Another specialised set leaves the general network alone.
    changed = replace(cabinet(), specialised=replace(cabinet().specialised, high=(0.5, 0.5, 0.5)))
    train(changed, store)
    assert count(tmp_path) == 5
    # How a hit is judged is not how a network is trained.
    train(round_table(0.25), store)
    before = count(tmp_path)
    train(round_table(0.5), store)
    assert count(tmp_path) == before


@pytest.mark.parametrize("method", METHODS[1:])
def test_adapting_starts_from_the_general_network(store: Store, method: str) -> None:
    still = replace(RECIPES["plain"].optimisation, learning_rate=1e-12)
    networks = Networks(cabinet(), replace(RECIPES["plain"], optimisation=still), TINY, 0, store)
    adapted = networks.specialised(method).network
    torch.testing.assert_close(networks.general.network.head.weight, adapted.head.weight)
    assert not torch.allclose(networks.specialised().network.head.weight, adapted.head.weight)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [8, 200])
def test_every_set_size_gets_the_same_steps(
    store: Store, method: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, rows = trained.fit, []

    def spy(*data: Any, **options: Any) -> Any:
        rows.append(options["rows_per_epoch"])
        return fit(*data, **options)

    networks = Networks(cabinet(), RECIPES["tuned"], replace(TINY, n_specialised=n), 0, store)
    assert len(networks.general.losses) == TINY.general_epochs
    monkeypatch.setattr(trained, "fit", spy)
    found = networks.specialised(method)
    assert rows == [EPOCH]
    epochs = TINY.specialised_epochs if method == "specialised" else TINY.finetune_epochs
    assert len(found.losses) == epochs and found.seconds > 0
    assert len(networks.rows("specialised")[0]) == n
    for parameter in found.network.parameters():
        assert parameter.requires_grad and bool(torch.isfinite(parameter).all())


def test_unknown_method_is_named(store: Store) -> None:
    with pytest.raises(ValueError, match="method must be one of specialised, .* not 'magic'"):
        Networks(cabinet(), RECIPES["plain"], TINY, 0, store).specialised("magic")


@pytest.mark.parametrize("steps", [50, 100, 1000])
def test_the_number_of_steps_changes_the_steps_and_not_the_diffusion(steps: int) -> None:
    """Betas scaled by 100 / T keep the total noise: log abar_T agrees to first order in beta."""
    y = torch.zeros(2, 3)
    process = replace(RECIPES["plain"], steps=steps).process(y, y)
    reference = Process.linear()
    assert process.steps == steps
    total, expected = (float(p.beta.sum()) for p in (process, reference))
    assert total == pytest.approx(expected, rel=1e-9)


def test_object_frame_is_an_option(store: Store) -> None:
    networks = Networks(cabinet(), RECIPES["tuned"], TINY, 0, store)
    y, c = networks.rows("general")
    network = networks.specialised().network
    torch.testing.assert_close(network.offset, (y - c).mean(0))
    torch.testing.assert_close(network.residual, torch.ones(3))  # the process has the same scale


def test_streams_are_independent_of_each_other() -> None:
    def first(*labels: object, seed: int = 0) -> float:
        return float(torch.rand(1, generator=stream(seed, *labels)))

    assert first("a") == first("a")
    assert len({first("a"), first("b"), first("a", "b"), first("a", seed=1)}) == 4


class Table:
    """Rows of one's own, with targets and conditions of any size."""

    name, roots = "table", ()

    def __init__(self, dy: int, dc: int, shift: float = 0.0) -> None:
        self.dy, self.dc, self.shift = dy, dc, shift

    def pairs(self, which: str, n: int, generator: torch.Generator) -> tuple[Any, Any]:
        y = torch.randn(n, self.dy, generator=generator)
        return y + self.shift, torch.randn(n, self.dc, generator=generator)

    def described(self, which: str) -> dict[str, Any]:
        return {which: [self.dy, self.dc, self.shift]}


NO_FRAME = replace(
    RECIPES["tuned"],
    name="no frame",
    architecture=replace(RECIPES["tuned"].architecture, object_frame=False),
)


@pytest.mark.parametrize(("dy", "dc"), [(1, 1), (2, 2), (2, 5), (2, 1), (1, 4), (4, 3)])
def test_networks_have_the_dimensions_of_their_rows(store: Store, dy: int, dc: int) -> None:
    for recipe in (RECIPES["plain"], NO_FRAME, RECIPES["tuned"]):
        networks = Networks(Table(dy, dc), recipe, TINY, 0, store)
        if recipe.architecture.object_frame and dy != dc:
            with pytest.raises(ValueError, match=rf"{recipe.name}.*y - c.* {dy} and {dc}"):
                _ = networks.general
            continue
        for one in (networks.general, *map(networks.specialised, METHODS)):
            assert (one.network.process.dy, one.network.process.dc) == (dy, dc)
            y = sample(one.network, torch.zeros(3, dc), stream(0))
            assert y.shape == (3, 1, dy) and bool(torch.isfinite(y).all())


def test_what_the_user_defines_is_part_of_what_made_a_network(store: Store) -> None:
    """Rows, recipes and networks_of of one's own: other code or fields, another network."""

    def defined(shift: float) -> list[Networks]:
        class Shifted(Scenario):
            def pairs(self, which: str, *rest: Any, **options: Any) -> tuple[Any, Any]:
                y, c = super().pairs(which, *rest, **options)
                return y + shift, c

        class Slower(Recipe):
            def process(self, y: torch.Tensor, c: torch.Tensor) -> Process:
                return Process.linear(20, 0.001, 0.2 + shift)

        class Own(Networks):
            def rows(self, which: str) -> tuple[Any, Any]:
                y, c = super().rows(which)
                return y + shift, c

        home, recipe = cabinet(), RECIPES["plain"]
        rest = (TINY, 0, store)
        return [
            Networks(Shifted("own", home.general, home.specialised), recipe, *rest),
            Networks(home, Slower("plain"), *rest),
            Own(home, recipe, *rest),
            Networks(Table(2, 2, shift), recipe, *rest),
        ]

    plain = Networks(cabinet(), RECIPES["plain"], TINY, 0, store)
    for one, same, other in zip(defined(0.1), defined(0.1), defined(0.2), strict=True):
        weights = one.general.network.head.weight
        assert torch.equal(weights, same.general.network.head.weight)
        for different in (other, plain):
            assert not torch.equal(weights, different.general.network.head.weight)


def test_a_shop_of_ones_own_keeps_what_it_trained_wherever_it_stands(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Own(Networks):
        shift: float = 0.0

    def config(shift: float, folder: str, **options: Any) -> dict[str, Any]:
        networks = Own(cabinet(), RECIPES["plain"], TINY, 0, Store(tmp_path / folder), **options)
        object.__setattr__(networks, "shift", shift)
        return networks._config("general", 1)

    assert config(1.0, "a", quiet=False) == config(1.0, "b") != config(2.0, "b")


def test_training_rows_are_from_their_regions(store: Store) -> None:
    networks = Networks(cabinet(), RECIPES["plain"], TINY, 0, store)
    rows = {which: networks.rows(which) for which in ("general", "specialised")}
    assert {k: len(y) for k, (y, _) in rows.items()} == {"general": 256, "specialised": 128}
    for which, (y, c) in rows.items():
        assert cabinet().region(which).contains(y, c).all()
