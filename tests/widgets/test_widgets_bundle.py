"""One script out of several, and what every widget of the book has in common."""

import base64
import math
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from browser import needs_chromium
from conftest import generator
from matplotlib.figure import Figure
from widget_page import frames, overflow, shown, state

from dualdiff.experiments.scenes import ring_and_bar
from dualdiff.plots import COLOURS
from dualdiff.widgets import bundle as module
from dualdiff.widgets.base import Refused, Widget
from dualdiff.widgets.bundle import FOLDER, bundle
from dualdiff.widgets.composition import Composition
from dualdiff.widgets.stages import plane_stage
from dualdiff.widgets.trajectory import Trajectory, trajectory_scrubber
from dualdiff.widgets.weight_map import weight_map

SCRIPTS = [path.name for path in FOLDER.glob("*.js") if "export default" in path.read_text()]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_stands_alone(name: str) -> None:
    """Its parts stand in one scope: a name that is there twice would be a syntax error."""
    assert {"weight_map.js", "trajectory.js"} <= set(SCRIPTS)
    script = bundle(name)
    names = re.findall(r"^(?:const|let|class|function) (\w+)", script, re.M)
    assert len(names) > 10 and len(names) == len(set(names))
    assert not re.search(r"^import\b", script, re.M), "browsers refuse relative imports here"
    assert re.findall(r"^export .*", script, re.M) == ["export default { render };"]
    assert "http" not in script, "pages ask nothing from elsewhere"
    for name, colour in COLOURS.items():
        assert f'"{name}": "{colour}"' in script.splitlines()[0]


def test_a_part_that_two_others_import_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        "base.js": "export const deep = 1;\n",
        "left.js": 'import { deep } from "./base.js";\nexport const left = deep;\n',
        "top.js": 'import { left } from "./left.js";\nimport {\n  deep,\n} from "./base.js";\n'
        "export default { render: () => left + deep };\n",
    }
    for name, text in parts.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    lines = bundle("top.js").splitlines()
    assert lines[1:] == [
        "const deep = 1;",
        "const left = deep;",
        "export default { render: () => left + deep };",
    ]


def composition(**start: Any) -> Composition:
    return Composition({"ring": plane_stage(ring_and_bar(), "A ring and a bar.")}, **start)


def scrubber(**start: Any) -> Trajectory:
    return trajectory_scrubber(ring_and_bar(), n=5, frames=11, generator=generator(), **start)


RANGES = [  # the least and the greatest number that a trait takes
    (weight_map, "w_general", 0.0, 4.0),
    (weight_map, "w_specialised", 0.0, 4.0),
    (scrubber, "frame", 0, 10),
    (composition, "w_general", -1.0, 3.0),
    (composition, "w_specialised", -1.0, 3.0),
    (composition, "guidance", -1.0, 5.0),
    (composition, "steps", 1, 100),
]
CHOICES = {
    weight_map: ("scene", "recipe", "metric"),
    scrubber: ("run",),
    composition: ("scene", "rule", "sampler", "source"),
}
WRONG = [
    *((make, name, low - 1) for make, name, low, _ in RANGES),
    *((make, name, high + 1) for make, name, _, high in RANGES),
    *((make, name, math.nan) for make, name, low, _ in RANGES if isinstance(low, float)),
    *((make, name, "nobody") for make, names in CHOICES.items() for name in names),
    (composition, "points", 75),
]


@pytest.mark.parametrize(("make", "name", "bad"), WRONG)
def test_wrong_values_are_refused_and_change_nothing(
    make: Callable[..., Widget], name: str, bad: Any
) -> None:
    widget = make()
    before, said = getattr(widget, name), f"{name} must be .*, not {bad!r}"
    with pytest.raises(Refused, match=said):
        setattr(widget, name, bad)
    assert getattr(widget, name) == before
    if name != "source":  # which nobody starts with
        with pytest.raises(Refused, match=said):
            make(**{name: bad})


class Probe(Widget):
    """A widget with nothing but what all have."""

    _esm = """export default { render({ el }) { el.textContent = "drawn" } };"""

    def picture(self) -> Figure:
        return plt.figure(figsize=(2, 1))

    def describe(self) -> str:
        return "an empty picture"


@pytest.fixture
def _figures() -> Iterator[None]:
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before, "a figure is left open: notebooks would show it again"


@pytest.mark.usefixtures("_figures")
def test_an_output_holds_view_picture_and_words() -> None:
    probe = Probe()
    data, metadata = probe._repr_mimebundle_()
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == probe.model_id
    assert data["text/plain"] == "an empty picture"
    assert metadata["image/png"] == {"alt": "an empty picture"}
    assert plt.imread(BytesIO(base64.b64decode(data["image/png"]))).shape[:2] == (100, 200)


def test_the_books_pages_prefer_the_view_to_the_picture() -> None:
    from myst_nb.core.render import get_mime_priority

    data, _ = Probe()._repr_mimebundle_()
    for builder, kind in (("html", "widget-view"), ("latex", "image/png")):
        first = next(mime for mime in get_mime_priority(builder, []) if mime in data)
        assert kind in first


@needs_chromium
def test_the_page_of_tests_reports_what_goes_wrong(tmp_path: Path) -> None:
    """The tests of widgets rely on it."""

    class Broken(Probe):
        _esm = """export default { render({ model, el }) {
          model.on("change:x", () => { throw new Error("broken view"); });
          el.innerHTML = "<div style='width:900px'>wide</div>";
          setTimeout(() => fetch("https://example.org/x").catch(() => 0));
        } };"""

    with pytest.raises(AssertionError) as error, shown(Broken(), tmp_path, width=390) as view:
        assert overflow(view) > 0
        view.evaluate("setTimeout(() => window.model.set('x', 1))")
        view.wait_for_function("window.model.get('x') === 1")
        frames(view)
        assert state(view, "x") == 1
    assert "broken view" in str(error.value) and "example.org" in str(error.value)
