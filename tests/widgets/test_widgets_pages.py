"""Widgets in pages as they are handed around: with scripts and without, on screen and on paper."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import small_book
import yaml
from browser import launched, needs_chromium, overflowing, reading, settle, turn, violations
from nbconvert import HTMLExporter

from dualdiff.publish import book, printing
from dualdiff.widgets.base import VIEW

CELL = """\
import torch
from dualdiff.experiments.scenes import ring_and_bar
from dualdiff.widgets import Composition, stages, trajectory_scrubber, weight_map
scenes = {
    "ring": stages.plane_stage(ring_and_bar(), "A ring."),
    "islands": stages.plane_stage(stages.islands(), "Nine islands."),
}
Composition(scenes, points=100)
"""
OTHERS = (
    "weight_map()",
    "source = torch.Generator().manual_seed(0)\n"
    "trajectory_scrubber(ring_and_bar(), n=20, frames=11, generator=source)",
)
LIVE = (".dualdiff-composition", ".dualdiff-map", ".dualdiff-trajectory")
PICTURES = "img[data-widget]"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small book whose last page shows every widget, with the scripts of the real one."""
    root = small_book.make(tmp_path_factory.mktemp("widgets"), CELL, *OTHERS)
    shutil.copytree(small_book.ROOT / "book/assets", root / "book/assets", dirs_exist_ok=True)
    config = yaml.safe_load((small_book.ROOT / "_config.yml").read_text())
    del config["bibtex_bibfiles"], config["sphinx"]["config"]["bibtex_reference_style"]
    config["sphinx"]["config"]["dualdiff_pages"] = {}
    (root / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    book.build(root, "smoke")
    yield root


@pytest.fixture(scope="module")
def executed(root: Path) -> nbformat.NotebookNode:
    (path,) = (
        path
        for path in (root / "_build" / "executed").rglob("*.ipynb")
        if "Composition(scenes" in path.read_text()
    )
    return nbformat.read(path, 4)


@pytest.fixture(scope="module")
def exported(executed: nbformat.NotebookNode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``jupyter nbconvert --to html`` makes of the notebook."""
    path = tmp_path_factory.mktemp("exported") / "page.html"
    path.write_text(HTMLExporter().from_notebook_node(executed)[0], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as one:
        yield one


def chapter(root: Path) -> Path:
    return root / "_build" / "html" / "notebooks" / "01_first.html"


def test_programs_without_widgets_find_one_picture_and_its_words(
    executed: nbformat.NotebookNode,
) -> None:
    shown = [cell.outputs for cell in executed.cells if cell.get("outputs")]
    shown = [outputs for outputs in shown if any(VIEW in o.get("data", {}) for o in outputs)]
    assert len(shown) == len(LIVE)
    for picture, view in shown:
        assert "image/png" in picture.data and VIEW not in picture.data
        assert picture.data["text/plain"] == view.data["text/plain"] != ""
        assert set(view.data) == {VIEW, "text/plain"}


@needs_chromium
@pytest.mark.parametrize("made", ["book", "exported"])
def test_without_scripts_every_widget_is_a_picture(
    root: Path, exported: Path, browser: Any, made: str
) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((chapter(root) if made == "book" else exported).as_uri())
    pictures = page.locator(PICTURES)
    assert pictures.count() == len(LIVE)
    for picture in pictures.all():
        assert picture.is_visible() and len(str(picture.get_attribute("alt"))) > 50
        box = picture.bounding_box()
        assert box["width"] > 200 and box["height"] > 100
    context.close()


@needs_chromium
def test_where_scripts_run_but_no_widget_comes_the_pictures_stay(
    exported: Path, browser: Any
) -> None:
    """An exported page asks a network for what makes widgets; this reader has none."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(exported.as_uri())
    assert page.locator(f"{PICTURES}:visible").count() == len(LIVE)
    context.close()


@needs_chromium
def test_where_widgets_live_no_picture_stands_beside_them(root: Path, browser: Any) -> None:
    with reading(browser, chapter(root)) as found:
        page = found.page
        for name in LIVE:
            page.locator(f"{name} canvas:visible").first.wait_for(timeout=60_000)
        settle(page)
        assert page.locator(f"{PICTURES}:visible").count() == 0
        assert not overflowing(page)
        # A view that is taken away leaves its picture.
        page.evaluate("document.querySelector('.dualdiff-composition').view.stop()")
        assert page.locator(f"{PICTURES}:visible").count() == 1
        assert not found.outside and not found.problems


@needs_chromium
def test_sliders_without_a_kernel_and_without_a_product(root: Path, browser: Any) -> None:
    with reading(browser, chapter(root)) as found:
        page = found.page
        page.locator(".dualdiff-score").first.wait_for(timeout=60_000)
        assert page.get_by_role("combobox", name="scene").is_visible()
        assert not page.get_by_role("combobox", name="computed by").count()
        page.get_by_label("from −1 to 3").check()
        page.get_by_role("slider", name="weight, general").focus()
        page.keyboard.press("Home")  # -1 and 1
        page.locator(".dualdiff-stale").wait_for()
        said = page.locator(".dualdiff-composition [aria-live]").inner_text()
        assert "positive sum" in said and "%" not in said
        assert page.locator(".dualdiff-score").count() == 0
        settle(page)
        assert not violations(page)
        turn(page, "dark")
        assert not violations(page, "color-contrast")
        page.set_viewport_size({"width": 390, "height": 844})
        settle(page)
        assert not overflowing(page)
        assert not found.outside and not found.problems


def test_on_paper_every_widget_is_one_picture(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUALDIFF_CHROMIUM", "no-such-browser")
    with pytest.raises(printing.PrintError):
        book.build_print(root, "smoke")
    text = (root / "_build" / "print" / "html" / "index.html").read_text("utf-8")
    assert text.count("data-widget=") == len(LIVE)
    assert VIEW not in text and printing.NO_PICTURE.strip("*") not in text
