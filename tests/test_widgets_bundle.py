"""One script out of several, and what every widget of the book has in common."""

import base64
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from browser import needs_chromium
from matplotlib.figure import Figure
from widget_page import frames, overflow, shown, state

from dualdiff.plots import COLOURS
from dualdiff.widgets import bundle as module
from dualdiff.widgets.base import Refused, Widget, one_of, within
from dualdiff.widgets.bundle import FOLDER, bundle

SCRIPTS = [path.name for path in FOLDER.glob("*.js") if "export default" in path.read_text()]


def test_there_are_widgets() -> None:
    assert {"weight_map.js", "trajectory.js"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_stands_alone(name: str) -> None:
    script = bundle(name)
    assert not re.search(r"^import\b", script, re.M), "browsers refuse relative imports here"
    assert re.findall(r"^export .*", script, re.M) == ["export default { render };"]
    assert "http" not in script, "pages ask nothing from elsewhere"
    for name, colour in COLOURS.items():
        assert f'"{name}": "{colour}"' in script.splitlines()[0]


@pytest.mark.parametrize("name", SCRIPTS)
def test_top_level_names_differ(name: str) -> None:
    """The parts stand in one scope: a name that is there twice would be a syntax error."""
    names = re.findall(r"^(?:const|let|class|function) (\w+)", bundle(name), re.M)
    assert len(names) > 10 and len(names) == len(set(names))


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


def test_refusals_name_what_is_allowed() -> None:
    assert within("weight", 0.5, 0, 1) == 0.5 and one_of("scene", "a", ("a", "b")) == "a"
    for bad in (float("nan"), float("inf"), -0.1, 1.1):
        with pytest.raises(Refused, match=f"weight must be a number from 0 to 1, not {bad}"):
            within("weight", bad, 0, 1)
    with pytest.raises(ValueError, match="scene must be one of a, b, not 'c'"):
        one_of("scene", "c", ("a", "b"))


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
