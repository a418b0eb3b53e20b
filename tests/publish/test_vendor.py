"""What the book carries from elsewhere: that it is what was published, and that it works."""

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import anywidget
import pytest
import small_book
from browser import launched, needs_chromium, overflowing, reading, resize, turn, violations
from bs4 import BeautifulSoup
from ipywidgets._version import __jupyter_widgets_base_version__ as base_version
from ipywidgets._version import __jupyter_widgets_controls_version__ as controls_version

from dualdiff.publish.project import project_root


def _load() -> ModuleType:
    path = project_root() / "book" / "vendor.py"
    spec = importlib.util.spec_from_file_location("vendor", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["vendor"] = module  # its dataclass looks there for its own module
    spec.loader.exec_module(module)
    return module


vendor = _load()
FILES = sorted(vendor.sums(vendor.FOLDER))
PINNED = {package.name: package.version for package in vendor.PACKAGES}


def test_every_file_is_as_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert vendor.problems() == []
    assert vendor.main(["--check"]) == 0
    assert f"{len(FILES)} files" in capsys.readouterr().out


def test_what_is_not_as_published_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vendor"
    shutil.copytree(vendor.FOLDER, folder)
    (folder / "anywidget" / "index.js").write_text("another", "utf-8")
    (folder / "mathjax" / "LICENSE").unlink()
    (folder / "new.js").touch()
    expected = [
        "anywidget/index.js was changed",
        "mathjax/LICENSE is missing",
        "new.js is not in SHA256SUMS",
    ]
    assert vendor.problems(folder) == expected
    monkeypatch.setattr(vendor, "FOLDER", folder)
    monkeypatch.setattr(vendor.problems, "__defaults__", (folder,))
    assert vendor.main(["--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 3


def test_files_are_chosen_by_the_patterns_of_their_package() -> None:
    package = vendor.Package("npm", "one", "1.0", {"a/*.js": "one/", "LICENSE": "one/TERMS"})
    content = {"a/x.js": b"x", "a/y.css": b"y", "LICENSE": b"terms"}
    assert vendor.select(package, content) == {"one/x.js": b"x", "one/TERMS": b"terms"}
    with pytest.raises(ValueError, match=r"one 1.0 has no a/\*.js"):
        vendor.select(package, {"LICENSE": b"terms"})


def test_every_package_has_its_licence_beside_it() -> None:
    folders = {name.split("/")[0] for name in FILES}
    assert folders == {"anywidget", "html-manager", "mathjax", "requirejs"}
    for name in folders:
        text = (vendor.FOLDER / name / "LICENSE").read_text("utf-8")
        assert re.search("Permission|Redistribution|Apache License", text), name


def test_it_is_small_and_no_script_was_split_or_added_by_hand() -> None:
    assert sum((vendor.FOLDER / name).stat().st_size for name in FILES) < 6e6
    scripts = [name for name in FILES if name.endswith(".js")]
    assert scripts == [
        "anywidget/index.js",
        "html-manager/embed-amd.js",
        "mathjax/tex-chtml-full.js",
        "requirejs/require.js",
    ]


def test_the_module_of_anywidget_is_that_of_the_tested_version() -> None:
    tested = (project_root() / "constraints.txt").read_text("utf-8")
    for name in ("anywidget", "ipywidgets"):
        assert f"\n{name}=={PINNED[name]}\n" in tested, f"renew {name}: see book/vendor.py"
    if version("anywidget") != PINNED["anywidget"]:
        pytest.skip(f"the book carries anywidget {PINNED['anywidget']}, another is installed")
    installed = Path(anywidget.__file__).parent / "nbextension" / "index.js"
    assert (vendor.FOLDER / "anywidget" / "index.js").read_bytes() == installed.read_bytes()


def test_html_manager_knows_the_models_of_the_installed_ipywidgets() -> None:
    script = (vendor.FOLDER / "html-manager" / "embed-amd.js").read_text("utf-8")
    for name, known in (("base", base_version), ("controls", controls_version)):
        assert re.search(rf'"@jupyter-widgets/{name}"[^;]{{0,200}}"{known}"', script), name


def test_the_settings_name_files_that_are_there() -> None:
    settings = small_book.settings()["sphinx"]["config"]
    scripts = list(settings["nb_ipywidgets_js"])
    assert [Path(name).name for name in scripts] == ["require.js", "widgets.js", "embed-amd.js"]
    for name in (*scripts, settings["mathjax_path"], *settings["html_js_files"]):
        assert (project_root() / "book" / "assets" / name).is_file(), name


WIDGETS = '''
import anywidget
import ipywidgets as widgets
import traitlets


class Echo(anywidget.AnyWidget):
    """Shows its number and the length of its data, and raises the number at a click."""

    _esm = """
    export default {
      render({ model, el }) {
        const text = document.createElement("output"), button = document.createElement("button");
        const show = () => {
          text.textContent = `${model.get("value")} of ${model.get("data").byteLength}`;
        };
        button.textContent = "more";
        button.className = "more";
        button.onclick = () => {
          model.set("value", model.get("value") + 1);
          model.save_changes();
        };
        model.on("change:value", show);
        el.append(text, button);
        show();
      },
    };
    """
    _css = ".more { background: #0a5; color: #000; }"
    value = traitlets.Int(3).tag(sync=True)
    data = traitlets.Bytes(bytes(7)).tag(sync=True)


echo = Echo()
slider = widgets.IntSlider(value=3, max=9, description=r"$\\alpha$ of it")
widgets.jslink((slider, "value"), (echo, "value"))
play = widgets.Play(value=3, max=9)
widgets.jslink((play, "value"), (slider, "value"))
parts = [
    widgets.Button(description="go", icon="check", button_style="warning"),
    widgets.Dropdown(options=["sum", "mean"], description="rule"),
    widgets.ToggleButtons(options=["one", "two"], description="members"),
    widgets.Checkbox(description="guided"),
    widgets.FloatText(1.5, description="number"),
    widgets.IntRangeSlider(description="range"),
    widgets.ColorPicker(value="#336699", description="colour"),
    widgets.Tab([widgets.Label("first"), widgets.Label("second")], titles=["1", "2"]),
    widgets.Accordion([widgets.Label("folded")], titles=["more"]),
]
widgets.VBox([widgets.HBox([play, slider]), echo, *parts])
'''


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A page with widgets, in a book with the settings and the assets of ours."""
    heading = "# Widgets\n\n$$a = \\boldsymbol{b}$$\n"
    yield small_book.ours(tmp_path_factory.mktemp("widgets"), heading, WIDGETS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as one:
        yield one


def test_only_pages_with_widgets_load_their_scripts(page: Path) -> None:
    loaded = {}
    for name in ("intro", "chapter"):
        content = BeautifulSoup((page.parent / f"{name}.html").read_text(), "html.parser")
        loaded[name] = {
            str(tag["src"]).split("?")[0] for tag in content.find_all("script", src=True)
        }
    names = {Path(source).name for source in loaded["chapter"] - loaded["intro"]}
    assert {"require.js", "widgets.js", "embed-amd.js"} <= names


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_widgets_work_without_a_kernel_and_a_network(page: Path, browser: Any, width: int) -> None:
    from playwright.sync_api import expect

    with reading(browser, page, width=width) as found:
        output, more = found.page.locator("output"), found.page.locator(".more")
        expect(output).to_have_text("3 of 7")
        # From ipywidgets to anywidget, and back.
        handle = found.page.get_by_role("slider", name="of it")
        handle.press("ArrowRight")
        expect(output).to_have_text("4 of 7")
        more.click()
        expect(output).to_have_text("5 of 7")
        expect(handle).to_have_attribute("aria-valuenow", "5.0")
        # A player counts up by itself.
        found.page.get_by_role("button", name="Play or pause").click()
        expect(output).to_have_text("9 of 7")
        assert more.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(0, 170, 85)"
        # The label's formula is set.
        assert found.page.locator(".widget-label mjx-container").count() == 1
        assert not found.outside
        assert not found.problems


@needs_chromium
def test_widgets_can_be_read_in_either_mode(page: Path, browser: Any) -> None:
    with reading(browser, page) as found:
        found.page.locator("output").wait_for()
        ink = {}
        for mode in ("light", "dark"):
            turn(found.page, mode)
            assert not violations(found.page)
            label = found.page.locator(".widget-label").first
            ink[mode] = label.evaluate("one => getComputedStyle(one).color")
        assert ink["light"] != ink["dark"]
        resize(found.page, 390)
        assert not overflowing(found.page)
        assert not found.outside
        assert not found.problems
