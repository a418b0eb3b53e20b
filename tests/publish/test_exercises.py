"""The page of all exercises, and the slides of a page: what they take from notebooks."""

import json
from pathlib import Path
from typing import Any

import pytest
from browser import launched, needs_chromium, overflowing, reading, violations
from bs4 import BeautifulSoup

from dualdiff.publish import exercises, slides
from dualdiff.publish.project import chapters, project_root

CHAPTER = """# A title

## Exercises

1. Take 0.5 of $p(1.5)$, as in {doc}`02_b`. Then more.
2. Is it
   so? No solution.

**3. Titled.** Show it. And more.

:::{admonition} Solution
:class: dropdown

Shown.
:::

:::{admonition} Solution to 1
:class: dropdown

1. A list in a solution is no exercise of this one.
:::

## Summary

1. Nor is this.
"""
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhg"
    "GAWjR9awAAAABJRU5ErkJggg=="
)


def written(path: Path, *cells: dict[str, Any]) -> Path:
    whole = [{"metadata": {}, "id": f"c{k}", **cell} for k, cell in enumerate(cells)]
    content = {"cells": whole, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))
    return path


def markdown(source: str, kind: str = "") -> dict[str, Any]:
    more = {"slideshow": {"slide_type": kind}} if kind else {}
    return {"cell_type": "markdown", "source": source, "metadata": more}


def test_exercises_are_told_by_their_first_sentence(tmp_path: Path) -> None:
    title, found = exercises.of(written(tmp_path / "a.ipynb", markdown(CHAPTER)))
    assert title == "A title"
    assert found == [
        (1, "Take 0.5 of $p(1.5)$, as in {doc}`/notebooks/02_b`.", True),
        (2, "Is it so?", False),
        (3, "**Titled.** Show it.", True),
    ]


def test_every_chapter_has_its_exercises_on_the_page() -> None:
    page = (project_root() / f"{exercises.PAGE}.md").read_text()
    assert page.count(exercises.MARKER) == 1
    sources = {f"notebooks/{path.stem}": path for path in chapters(project_root())}
    text = exercises.filled(page, sources)
    for name, path in sources.items():
        found = exercises.of(path)[1]
        assert [one.number for one in found] == [*range(1, len(found) + 1)] and found, name
        assert f"(/{name}.ipynb#exercises)" in text
        assert all(one.sentence[-1] in ".?!" for one in found), name


def talk(folder: Path) -> Path:
    """Slides of a page with a figure, a link, and a cell that no slide has."""
    image = {"output_type": "display_data", "metadata": {}, "data": {"image/png": PIXEL}}
    figure = {"mystnb": {"figure": {"caption": "It is <small>."}, "image": {"alt": "A dot."}}}
    drawn = {"cell_type": "code", "source": "draw()", "metadata": figure, "outputs": [image]}
    notebook = written(
        folder / "executed.ipynb",
        markdown("# A talk", "slide"),
        markdown("Hidden", "skip"),
        markdown("## One\n\nSee [it](01_a.ipynb).", "slide"),
        drawn | {"execution_count": 1},
    )
    assert slides.has_slides(notebook)
    (folder / "_static").mkdir()
    return slides.write(notebook, "notebooks/talk", project_root(), folder)


def test_slides_hold_what_their_cells_say(tmp_path: Path) -> None:
    goal = talk(tmp_path)
    assert goal.name == "talk.slides.html"
    page = BeautifulSoup(goal.read_text(), "html.parser")
    assert page.title is not None and page.title.get_text() == "A talk"
    first, second = page.select("section")
    assert "A talk" in first.get_text() and "Hidden" not in page.get_text()
    assert "draw()" not in page.get_text()
    assert [link["href"] for link in second.select("a:not(.anchor-link)")] == ["01_a.html"]
    assert page.base is not None and page.base["href"] == "../notebooks/talk.html"
    (image,) = second.select("figure img")
    assert image["alt"] == "A dot." and "It is <small>." in second.get_text()


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_slides_are_turned_by_keys_and_need_no_network(tmp_path: Path, width: int) -> None:
    with launched() as browser, reading(browser, talk(tmp_path), width=width) as found:
        page = found.page
        tops = "[...document.querySelectorAll('section')].map(s => s.getBoundingClientRect().top)"
        for key, place in (("ArrowRight", 1), (" ", 1), ("PageUp", 0), ("ArrowLeft", 0)):
            page.keyboard.press(key)
            page.wait_for_timeout(100)
            assert abs(page.evaluate(tops)[place]) < 2, key
        assert not overflowing(page) and not violations(page)
        assert not found.outside
        assert not found.problems
