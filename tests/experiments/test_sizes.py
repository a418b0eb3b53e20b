"""The table of sizes, and what readers see of the names that it makes."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.shifted import overlap_fraction, shifted_table
from dualdiff.experiments.sizes import SIZES, size_of, sized
from dualdiff.experiments.trial import derive

rounded = st.floats(0, 20).map(lambda x: float(f"{x:g}"))


@pytest.mark.parametrize("study", SIZES)
def test_every_study_has_a_size_at_every_profile_and_refuses_others(study: str) -> None:
    assert [*SIZES[study]] == [*PROFILES]
    for profile in PROFILES:
        own, size = size_of(study, profile), sized(study, profile, n_specialised=7)
        for name in ("conditions", "draws", "seeds"):
            assert getattr(size, name) == getattr(own, name)
        assert size.n_specialised == 7 and size.name == profile
    with pytest.raises(ValueError, match="profile must be one of smoke, quick, full, not 'big'"):
        size_of(study, "big")


def table(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"configuration": "joint", "metric": "accuracy", **columns})


@given(st.lists(rounded, min_size=1, max_size=5))
def test_a_distance_in_a_name_comes_back(distances: list[float]) -> None:
    found = derive(table(scenario=["cabinet", *(shifted_table(d).name for d in distances)]))
    assert math.isnan(found["distance"][0]) and math.isnan(found["overlap"][0])
    assert found["distance"][1:].tolist() == distances
    assert found["overlap"][1:].tolist() == [overlap_fraction(d) for d in distances]


@given(st.lists(st.tuples(rounded, rounded), min_size=1, max_size=5))
def test_weights_in_names_come_back_and_the_sum_has_one_name(weights: list) -> None:
    names = [f"{g:g}, {s:g}" for g, s in [(1, 1), (1, 0), (0, 1), *weights]]
    found = derive(table(configuration=["sum", "joint", *names]))
    assert found["configuration"][:5].tolist() == ["joint"] * 3 + ["general", "specialised"]
    pairs = found[["weight_general", "weight_specialised"]][5:]
    assert [*pairs.itertuples(index=False, name=None)] == weights


def test_names_of_settings_and_notes_are_columns() -> None:
    found = derive(
        table(
            configuration=["spherical, 40, 0.3", "smc in groups of 50", "sum in 400 steps", "smc"],
            metric=["accuracy", "unique", "calls", "general at 33"],
        )
    )
    assert found["configuration"].tolist() == ["spherical", "smc", "joint", "smc"]
    settings = found[["aggregated", "deviation", "group", "steps", "t"]].max()
    assert settings.tolist() == [40, 0.3, 50, 400, 33]
    assert found["member"].dropna().tolist() == ["general"]


@given(st.permutations(["shifted by 3", "cabinet", "shifted by dawn"]))
def test_what_is_derived_stays_and_what_says_nothing_gets_no_column(scenarios: list) -> None:
    names = ["0.5, 1", "sum", "amdm, 20, 0.1"]
    once = derive(table(scenario=scenarios, configuration=names))
    pd.testing.assert_frame_equal(derive(once), once)
    assert set(once["distance"].dropna()) == {3.0}
    plain = table(scenario=["cabinet"])
    pd.testing.assert_frame_equal(derive(plain), plain)
