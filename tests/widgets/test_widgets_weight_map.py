"""The map of weights: its numbers are the table's, and a reader can move the marker."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browser import needs_chromium
from widget_page import overflow, pixels, saves, shown, state, theme

from dualdiff.pages import select
from dualdiff.readings.weights import plane
from dualdiff.results import committed as results
from dualdiff.widgets.weight_map import WeightMap, weight_map

TABLE = results.load("weight_map")[0]


def number(metric: str, general: float, specialised: float, column: str = "value") -> float:
    """A cell of the committed table: cabinet, recipe tuned."""
    rows = TABLE[(TABLE["scenario"] == "cabinet") & (TABLE["recipe"] == "tuned")]
    rows = rows[(rows["metric"] == metric) & (rows["target"] == "specialised")]
    (value,) = select(rows, weight_general=general, weight_specialised=specialised)[column]
    return float(value)


@pytest.mark.parametrize("recipe", ["plain", "tuned"])
@pytest.mark.parametrize("scene", ["cabinet", "round_table"])
@pytest.mark.parametrize("metric", ["accuracy", "total_variation"])
def test_the_map_is_the_table(scene: str, recipe: str, metric: str) -> None:
    widget = weight_map(scene=scene, recipe=recipe, metric=metric)
    rows, axes = widget.maps[scene][recipe][f"{metric} value"], widget.axes
    points = plane(TABLE, scene, recipe)
    assert len(points) == sum(value is not None for row in rows for value in row) == 48
    for _, point in points.iterrows():
        row = axes["specialised"].index(point["specialised"])
        column = axes["general"].index(point["general"])
        assert rows[row][column] == pytest.approx(point[metric], rel=1e-12)
    best = points[metric].min() if metric == "total_variation" else points[metric].max()
    assert len(widget.best()) == (points[metric] == best).sum()
    for pair in widget.best():
        assert widget.value(pair, f"{metric} value") == pytest.approx(best)


def test_the_nearest_pair_is_nearest_in_cells_and_computed() -> None:
    widget = weight_map(w_general=0.9, w_specialised=1.4)
    assert widget.nearest() == (1.0, 1.0)
    for end in ("value", "low", "high"):
        expected = number("accuracy", 0.5, 1.0, end)
        assert widget.value((0.5, 1.0), f"accuracy {end}") == pytest.approx(expected)
    widget.w_specialised = 1.6  # cells: 1 to 2 is one cell, as 0 to 0.125 is
    assert widget.nearest() == (1.0, 2.0)
    widget.w_general = widget.w_specialised = 0.0  # no such composition
    assert widget.nearest() in {(0.0, 0.125), (0.125, 0.0)}


def test_words_and_picture_are_of_the_present_map() -> None:
    widget = weight_map(scene="round_table", w_general=2.0)
    words = widget.describe()
    assert "round table" in words and "(2, 1)" in words
    assert f"{widget.value((2.0, 1.0), 'accuracy value'):.3f}" in words
    data, _ = widget._repr_mimebundle_()
    assert len(data["image/png"]) > 10_000
    widget.w_general = 0.5
    assert data["image/png"] != widget._repr_mimebundle_()[0]["image/png"]


def test_a_small_table_of_ones_own_will_do() -> None:
    own = TABLE[TABLE["scenario"].eq("cabinet") & TABLE["recipe"].eq("tuned")]
    own = select(own, configuration=["general", "specialised", "joint"])
    other = own.assign(value=9.0, weight_general=math.nan)  # what is no pair of weights is left out
    widget = weight_map(pd.concat([own, other]))
    assert widget.axes == {"general": [0.0, 1.0], "specialised": [0.0, 1.0]}
    accuracy = widget.maps["cabinet"]["tuned"]["accuracy value"]
    assert accuracy[0][0] is None and accuracy[1][1] == number("accuracy", 1, 1)
    assert "null" in json.dumps(accuracy) and widget.titles == {"cabinet": "cabinet"}


def test_tables_without_a_plane_are_refused() -> None:
    for table in (TABLE.iloc[:0], TABLE.drop(columns="weight_general")):
        with pytest.raises(ValueError, match="no configuration that is a pair"):
            WeightMap(table)
    gone = TABLE["scenario"].eq("cabinet") & TABLE["recipe"].eq("plain")
    with pytest.raises(ValueError, match="same recipes for all scenarios"):
        WeightMap(TABLE[~gone])


def test_the_state_is_small() -> None:
    state = {key: value for key, value in weight_map().get_state().items() if key != "_esm"}
    assert len(json.dumps(state, default=str)) < 20_000


def box(view: Any, general: float, specialised: float) -> dict[str, float]:
    """Where a computed pair lies on the canvas: found by its own layout, from outside."""
    axis = [0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0]
    width, height = view.locator("canvas").evaluate("c => [c.clientWidth, c.clientHeight]")
    across, up = (width - 58 - 8) / 7, (height - 8 - 44 - 50) / 7
    x = 58 + (axis.index(general) + 0.5) * across
    return {"x": x, "y": 8 + (6 - axis.index(specialised) + 0.5) * up}


def said(view: Any) -> list[str]:
    """The two lines of the read-out."""
    lines: list[str] = view.locator("output").all_inner_texts()
    return lines


@needs_chromium
def test_clicks_drags_and_keys_move_the_marker(tmp_path: Path) -> None:
    with shown(weight_map(), tmp_path) as view:
        canvas = view.locator("canvas")
        assert "Marker at (1, 1)" in said(view)[0] and not saves(view)
        assert f"total variation {number('total_variation', 1, 1):.3f}" in said(view)[0]
        low, high = (number("accuracy", 1, 1, end) for end in ("low", "high"))
        assert f"(95 % interval {low:.3f} to {high:.3f})" in said(view)[0]
        least = plane(TABLE, "cabinet", "tuned").sort_values("total_variation").iloc[0]
        where = f"({least['general']:g}, {least['specialised']:g})"
        assert f"(framed): {least['total_variation']:.3f} at {where}" in said(view)[1]

        before = pixels(view)
        canvas.click(position=box(view, 0.25, 2.0))
        assert (state(view, "w_general"), state(view, "w_specialised")) == (0.25, 2.0)
        assert saves(view)[0] == {"w_general": 0.25, "w_specialised": 2.0}
        assert f"accuracy {number('accuracy', 0.25, 2):.3f}" in said(view)[0]
        assert pixels(view) != before

        canvas.focus()
        done = len(saves(view))
        view.keyboard.press("ArrowRight")
        assert state(view, "w_general") == pytest.approx(0.3)
        view.keyboard.press("Shift+ArrowRight")
        assert state(view, "w_general") == 0.5
        view.keyboard.press("Shift+ArrowUp")
        view.keyboard.press("ArrowUp")  # nothing is computed beyond
        assert state(view, "w_specialised") == 4.0
        assert saves(view)[done:][:3] == [
            {"w_general": pytest.approx(0.3)}, {"w_general": 0.5}, {"w_specialised": 4.0}
        ]  # fmt: skip
        assert f"total variation {number('total_variation', 0.5, 4):.3f}" in said(view)[0]
        view.keyboard.press("Home")
        assert (state(view, "w_general"), state(view, "w_specialised")) == (1, 1)

        corner, start, end = canvas.bounding_box(), box(view, 1.0, 1.0), box(view, 4.0, 0.125)
        view.mouse.move(corner["x"] + start["x"], corner["y"] + start["y"])
        view.mouse.down()
        view.mouse.move(corner["x"] + end["x"], corner["y"] + end["y"], steps=4)
        view.mouse.up()
        assert (state(view, "w_general"), state(view, "w_specialised")) == (4.0, 0.125)
        view.mouse.move(corner["x"] + start["x"], corner["y"] + start["y"])  # let go of
        assert state(view, "w_general") == 4.0


@needs_chromium
def test_lists_links_and_theme_redraw_the_map(tmp_path: Path) -> None:
    with shown(weight_map(), tmp_path) as view:
        first = pixels(view)
        view.get_by_label("colour").select_option("accuracy")
        assert saves(view) == [{"metric": "accuracy"}]
        second = pixels(view)
        view.get_by_label("scenario").select_option("round_table")
        assert state(view, "scene") == "round_table"
        points = plane(TABLE, "round_table", "tuned")["accuracy"]
        ties = (points == points.max()).sum()
        assert ties > 1 and f"1.000 at {ties} pairs" in said(view)[1]
        third = pixels(view)
        theme(view, "dark")
        fourth = pixels(view)
        assert len({first, second, third, fourth}) == 4

        # What a linked widget does: traits change from outside, scenes may be unknown here.
        view.evaluate("window.model.set('w_general', 0.5)")
        assert "Marker at (0.5, 1)" in said(view)[0] and pixels(view) != fourth
        for name, value in (("scene", "elsewhere"), ("recipe", "best"), ("metric", "luck")):
            before, known = pixels(view), state(view, name)
            view.evaluate("([k, v]) => window.model.set(k, v)", [name, value])
            assert "There is no map" in said(view)[0]
            assert not re.search(r"\d\.\d", " ".join(said(view)))
            assert pixels(view) != before
            view.evaluate("([k, v]) => window.model.set(k, v)", [name, known])
            assert pixels(view) == before
        for value in (7, -1, None):
            view.evaluate("w => window.model.set('w_general', w)", value)
            assert "not on this map" in said(view)[0] and "accuracy" not in said(view)[0]
        view.locator("canvas").click(position=box(view, 4.0, 1.0))
        assert "Marker at (4, 1)" in said(view)[0]

        assert view.evaluate("window.model.listeners()") > 0
        view.evaluate("window.cleanup()")
        assert view.evaluate("window.model.listeners()") == 0


@needs_chromium
def test_a_finger_moves_it_on_a_narrow_page(tmp_path: Path) -> None:
    with shown(weight_map(), tmp_path, 340, has_touch=True, device_scale_factor=2) as view:
        assert overflow(view) <= 0
        canvas = view.locator("canvas")
        sizes = canvas.evaluate("c => [c.width, c.clientWidth]")
        assert sizes[0] == 2 * sizes[1] and sizes[1] > 280
        corner, place = canvas.bounding_box(), box(view, 0.5, 0.5)
        view.touchscreen.tap(corner["x"] + place["x"], corner["y"] + place["y"])
        assert (state(view, "w_general"), state(view, "w_specialised")) == (0.5, 0.5)
        view.set_viewport_size({"width": 700, "height": 900})
        pixels(view)
        assert canvas.evaluate("c => c.width / 2") > 400
        for attribute in ("aria-label", "aria-describedby", "role"):
            assert canvas.get_attribute(attribute)
