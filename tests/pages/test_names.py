"""Every method and rule has a name and a look of its own, also those that a reader adds."""

from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.rules import RULES
from dualdiff.pages.names import CONFIGURATIONS, label, style
from dualdiff.pages.numbers import grid
from dualdiff.plots import facets


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def looks(names: list[str]) -> set[tuple[str, str]]:
    return {(style(name)["color"], style(name)["marker"]) for name in names}


def test_every_method_has_a_colour_that_is_not_that_of_a_member() -> None:
    assert set(METHODS) <= set(CONFIGURATIONS)
    assert len(looks([*METHODS])) == len(METHODS)
    members = {style(name)["color"] for name in ("general", "specialised", "finetuned")}
    assert not members & {style(name)["color"] for name in METHODS}
    assert len({label(name) for name in RULES}) == len(RULES)


@pytest.mark.parametrize("registry", [RULES, METHODS], ids=["rule", "method"])
def test_what_a_reader_adds_is_in_every_figure_and_table(
    registry: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "another"):  # titles need not differ
        monkeypatch.setitem(registry, name, registry["sum"])
    names = [*registry]
    assert len({label(name) for name in names}) == len(names)
    assert label("mine").startswith(registry["sum"].title)
    assert len(looks(names)) == len(names)
    rows = [
        (scene, name, metric, 0.1 * n, 0.1 * n, 0.1 * n)
        for scene in ("cabinet", "boxes")
        for n, name in enumerate(names)
        for metric in ("total_variation", "calls")
    ]
    columns = ["scene", "configuration", "metric", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    assert len(grid(table, "configuration", ["scene", "metric"])) == len(names)
    figure, found = facets.against(table, "calls", "total_variation", "scene")
    assert len(figure.legends[0].get_texts()) == len(names)
    assert all(len(axes.containers) == len(names) for axes, _ in found)
    figure = facets.dots(table[table["metric"] == "calls"], "scene")
    assert len(figure.axes[0].get_yticks()) == len(names)
    assert all(len(axes.containers) == len(names) for axes in figure.axes)
