"""Two tables in the place of a scenario: no leaks, epochs chosen without the rows that judge."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from dualdiff.data.pairs import LEAST, Networks, Pairs, sized
from dualdiff.data.table import Table
from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.store import Store
from dualdiff.randomness import stream
from dualdiff.samplers import sample
from dualdiff.training import fit

TINY = replace(
    sized("smoke"), n_general=200, general_epochs=2, specialised_epochs=6, finetune_epochs=6
)


def table(n: int, seed: int, name: str = "rows", shift: float = 0.0) -> Table:
    """Rows whose two targets follow one of three conditions."""
    generator = torch.Generator().manual_seed(seed)
    c = torch.randn(n, 3, generator=generator, dtype=torch.float32)
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float32)
    return Table(c[:, :1] + shift + 0.3 * noise, c, name, c_names=["a", "b", "c"])


def example() -> Pairs:
    return Pairs(table(300, 0), table(24, 1, shift=0.5), table(12, 2, shift=0.5))


def test_special_rows_leave_the_general_table_and_judge_or_teach() -> None:
    special = table(30, 1)
    general = table(300, 0)
    both = replace(
        general, y=torch.cat([general.y, special.y]), c=torch.cat([general.c, special.c])
    )
    pairs = Pairs.of(both, special, 0.4, stream(0, "split"))
    assert pairs.removed == 30 and torch.equal(pairs.general.joined, general.joined)
    assert (len(pairs.special), len(pairs.held_out)) == (18, 12)
    assert not pairs.held_out.shared(pairs.special).any()


def test_leaks_and_tables_that_do_not_fit_are_refused() -> None:
    general, special, judge = table(300, 0, "all"), table(24, 1, "one"), table(12, 2, "one")
    leaking = replace(
        general, y=torch.cat([general.y, judge.y[3:]]), c=torch.cat([general.c, judge.c[3:]])
    )
    with pytest.raises(
        ValueError, match="9 of the 12 held-out rows.*'all', too, the first.* row 4"
    ):
        Pairs(leaking, special, judge)
    with pytest.raises(ValueError, match="24 of the 24 held-out rows"):
        Pairs(general, special, special)
    with pytest.raises(ValueError, match=f"1 rows to learn from.*at least {LEAST}"):
        Pairs(general, special.rows(torch.tensor([0])), judge)
    with pytest.raises(ValueError, match="condition 'c' of table 'all' never varies"):
        Pairs(replace(general, c=general.c * torch.tensor([1.0, 1, 0])), special, judge)
    with pytest.raises(ValueError, match="must have the same c.*like=the first"):
        Pairs(general, Table(special.y, special.c), judge)
    with pytest.raises(ValueError, match="all 24 rows of 'one'"):
        Pairs.of(special, special, 0.5, stream(0, "split"))


def test_the_frame_of_a_recipe_is_left_out_and_its_name_says_so(store: Store) -> None:
    networks = Networks(example(), RECIPES["tuned"], TINY, 0, store)
    assert networks.recipe.name == "tuned, no frame"
    assert networks.recipe.architecture == replace(
        RECIPES["tuned"].architecture, object_frame=False
    )
    assert Networks(example(), RECIPES["plain"], TINY, 0, store).recipe == RECIPES["plain"]
    process = networks.general.network.process
    assert (process.dy, process.dc) == (2, 3)
    assert networks.recipe.without_frame() is networks.recipe


def test_tables_without_conditions_are_learned_too(store: Store) -> None:
    given = example()
    tables = (Table(t.y, t.c[:, :0]) for t in (given.general, given.special, given.held_out))
    networks = Networks(Pairs(*tables), RECIPES["tuned"], TINY, 0, store)
    y = sample(networks.specialised().network, torch.zeros(3, 0), stream(0), draws=2)
    assert y.shape == (3, 2, 2) and bool(torch.isfinite(y).all())


def test_held_out_rows_decide_nothing_that_is_trained(store: Store) -> None:
    pairs = example()
    other = replace(pairs, held_out=table(12, 7))
    one, two = (Networks(p, RECIPES["tuned"], TINY, 0, store) for p in (pairs, other))
    assert one._config("specialised", 6) == two._config("specialised", 6)
    changed = replace(pairs, special=pairs.special.rows(torch.arange(20)))
    three = Networks(changed, RECIPES["tuned"], TINY, 0, store)
    assert three._config("specialised", 6) != one._config("specialised", 6)
    assert three._config("general", 6) == one._config("general", 6)


def test_the_mean_of_the_folds_says_for_how_long_all_rows_are_learned(store: Store) -> None:
    networks = Networks(example(), RECIPES["tuned"], TINY, 0, store)
    whole = networks.specialised()
    folds = [fold.specialised() for fold in networks.folds()]
    curves = [fold.held_out for fold in folds]
    shared = torch.stack([curve[: len(whole.held_out)] for curve in curves]).mean(0)
    torch.testing.assert_close(whole.held_out, shared)
    assert len(whole.losses) == int(shared.argmin()) + 1
    seen = torch.cat([fold.held_out()[0] for fold in networks.folds()])
    assert {*map(tuple, seen.tolist())} == {*map(tuple, networks.scenario.special.y.tolist())}


def test_a_run_to_its_end_is_that_of_fit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folds' loss falls to the end the network is that of all epochs, averaged."""
    networks = Networks(example(), RECIPES["tuned"], TINY, 5, store)
    fold = Mock()
    fold.specialised.return_value.held_out = torch.linspace(1, 0, TINY.specialised_epochs)
    monkeypatch.setattr(Networks, "folds", lambda _: iter([fold] * 4))
    whole = networks.specialised().network
    plain = networks._new("specialised")
    for _ in fit(plain, **networks._options("specialised", TINY.specialised_epochs)):
        pass
    for one, other in zip(whole.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_out_of_reach_is_known() -> None:
    pairs = example()
    low, high = pairs.reach
    c = torch.stack([low, high, high + 1])
    assert pairs.outside(c).tolist() == [[False] * 3, [False] * 3, [True] * 3]


def test_folds_leave_out_whole_units(store: Store) -> None:
    plain = example()
    units = np.array([f"u{i // 3}" for i in range(len(plain.special))], dtype=object)
    by_unit = replace(plain, special=replace(plain.special, units=units))
    folds = [*Networks(by_unit, RECIPES["tuned"], TINY, 0, store).folds()]
    seen = [fold.held_out()[0] for fold in folds]
    assert sum(map(len, seen)) == len(units)  # every row is left out once
    assert torch.cat(seen).unique(dim=0).equal(by_unit.special.y.unique(dim=0))
    where = [torch.from_numpy(units == unit) for unit in dict.fromkeys(units)]
    for fold in folds:
        learned = fold.rows("specialised")[0]
        for rows in where:
            inside = (by_unit.special.y[rows][:, None] == learned).all(-1).any(1)
            assert bool(inside.all()) or not bool(inside.any())
    # Other folds are other networks, also in a store that is shared.
    assert by_unit.described("specialised") != plain.described("specialised")
    assert by_unit.described("general") == plain.described("general")
    few = np.array(["a", "b", "c"] * len(units), dtype=object)[: len(units)]
    with pytest.raises(ValueError, match="rows of 3 units.*at least 4"):
        replace(plain, special=replace(plain.special, units=few))
