"""The page on running shows how long the chapters of this book took."""

import json
from pathlib import Path

import pytest

from dualdiff.publish import timing
from dualdiff.publish.project import chapters, project_root

RUNNING = Path(__file__).parent.parent.parent / "book" / "running.md"


def executed(folder: Path, name: str, metadata: dict, *texts: str) -> Path:
    path = folder / f"{name}.ipynb"
    cells = [{"cell_type": "markdown", "source": [text]} for text in texts]
    path.write_text(json.dumps({"cells": cells, "metadata": metadata}))
    return path


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "less than 1 s"),
        (12.4, "12 s"),
        (60, "1 min 0 s"),
        (59.7, "1 min 0 s"),
        (75, "1 min 15 s"),
        (3600, "1 h 0 min"),
        (7321, "2 h 2 min"),
    ],
)
def test_words(seconds: float, text: str) -> None:
    assert timing.words(seconds) == text


def test_the_marker_of_the_page_becomes_a_table(tmp_path: Path) -> None:
    page = RUNNING.read_text()
    assert page.count(timing.MARKER) == 1
    chapters = {
        "notebooks/01_theory": executed(tmp_path, "a", {"dualdiff": {"seconds": 61.2}}),
        "notebooks/old": executed(tmp_path, "b", {}),
    }
    text = timing.filled(page, chapters, "smoke")
    assert timing.MARKER not in text
    assert "this book, profile `smoke`" in text
    assert "| {doc}`/notebooks/01_theory` | 1 min 1 s |" in text
    assert "notebooks/old" not in text and "| all, one after the other | 1 min 1 s |" in text


def test_unknown_times_are_said_to_be_unknown(tmp_path: Path) -> None:
    assert "was not recorded" in timing.table({"old": executed(tmp_path, "b", {})}, "quick")


def test_what_the_chapters_say_stands_on_the_page(tmp_path: Path) -> None:
    page = RUNNING.read_text()
    assert page.count(timing.CLAIMS) == 1
    text = "# A\n\n**How long it runs**: after {doc}`02_b`\nand {doc}`../book/c`. See\n\nMore"
    chapters = {
        "notebooks/a": executed(tmp_path, "a", {}, "# Before", text),
        "notebooks/silent": executed(tmp_path, "b", {}, "# Nothing"),
    }
    shown = timing.filled(page, chapters, "smoke")
    line = "- {doc}`/notebooks/a`: after {doc}`/notebooks/02_b` and {doc}`../book/c`."
    assert timing.CLAIMS not in shown and line in shown.splitlines()
    assert "notebooks/silent" not in shown and "More" not in shown


def test_every_chapter_says_how_long_it_runs() -> None:
    for path in chapters(project_root()):
        assert timing.claim_of(path), path
