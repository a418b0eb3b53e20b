"""The book on one page and on paper, from a small book; what is said where there is no browser."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from small_book import make

from dualdiff.publish import book, cli, printing

WIDGET = """\
from IPython.display import display
display(
    {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "W", **more},
    raw=True,
)
"""
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhg"
    "GAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of three pages; the last has a widget with a picture and one without."""
    picture = f'more = {{"image/png": "{PNG}"}}'
    cells = f"{picture}\n{WIDGET}", f"more = {{}}\n{WIDGET}"
    return make(tmp_path_factory.mktemp("small"), *cells)


@pytest.fixture(scope="module")
def printed(small: Path) -> Iterator[tuple[Path, str]]:
    """The single page of a run that found no browser, and what that said."""
    before = os.environ.get("DUALDIFF_CHROMIUM")
    os.environ["DUALDIFF_CHROMIUM"] = "no-such-browser"
    with pytest.raises(printing.PrintError) as error:
        book.build_print(small, "smoke")
    yield small / "_build" / "print" / "html" / "index.html", str(error.value)
    del os.environ["DUALDIFF_CHROMIUM"]
    if before is not None:
        os.environ["DUALDIFF_CHROMIUM"] = before


def test_one_page_holds_all_and_widgets_are_pictures(printed: tuple[Path, str]) -> None:
    page = BeautifulSoup(printed[0].read_text(), "html.parser")
    titles = [title.get_text().strip("#") for title in page.find_all(["h1", "h2"])]
    assert {"Welcome", "Running", "A chapter"} <= set(titles)
    assert not page.find_all("script", type=printing.WIDGET)
    assert len(page.select(".cell_output img")) == 1
    assert "This part moves" in page.get_text()
    for tag, attribute in (("link", "href"), ("script", "src"), ("img", "src")):
        for element in page.find_all(tag):
            target = str(element.get(attribute) or "").partition("?")[0]
            if target and ":" not in target and not target.endswith((".html", "index.js")):
                assert (printed[0].parent / target).exists(), element
    assert any("print.css" in str(link.get("href")) for link in page.find_all("link"))
    assert "this book, profile smoke" in page.get_text()  # the times, without the chapter's


def test_without_a_browser_the_page_is_there_and_the_error_says_so(
    printed: tuple[Path, str],
) -> None:
    page, message = printed
    assert page.is_file() and str(page) in message
    assert "the PDF is not" in message and "'no-such-browser', which is no program" in message


def test_no_browser_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DUALDIFF_CHROMIUM", raising=False)
    monkeypatch.setattr(printing, "_NAMES", ("no-such-browser",))
    assert printing.find_chromium() is None
    with pytest.raises(printing.PrintError, match="neither Chromium nor Chrome was found"):
        printing.to_pdf(tmp_path / "page.html", tmp_path / "page.pdf")


def test_a_browser_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "browser"
    broken.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("DUALDIFF_CHROMIUM", str(broken))
    with pytest.raises(printing.PrintError, match="made no PDF.*\n.*out of luck"):
        printing.to_pdf(tmp_path / "page.html", tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


def test_a_browser_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "browser"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("DUALDIFF_CHROMIUM", str(slow))
    with pytest.raises(printing.PrintError, match="ended after 0.5 s"):
        printing.to_pdf(tmp_path / "page.html", tmp_path / "page.pdf", timeout=0.5)


@pytest.mark.skipif(
    printing.find_chromium() is None and not os.environ.get("CI"),
    reason="no Chromium on this computer (in CI this is a failure)",
)
def test_the_page_becomes_a_pdf(
    printed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DUALDIFF_CHROMIUM")
    pdf = printing.to_pdf(printed[0], tmp_path / "book.pdf")
    data = pdf.read_bytes()
    assert data[:5] == b"%PDF-" and data.count(b"/Type /Page\n") + data.count(b"/Type/Page") >= 1


def test_the_command(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small)
    made = (small / "page.html", small / "book.pdf")
    monkeypatch.setattr(book, "build_print", lambda *_, **__: made)
    assert cli.main(["book", "--print", "--profile", "smoke"]) == 0
    assert "On paper: book.pdf" in capsys.readouterr().out

    def fails(*_: object, **__: object) -> None:
        raise printing.PrintError("no PDF")

    monkeypatch.setattr(book, "build_print", fails)
    assert cli.main(["book", "--print"]) == 1
    assert "no PDF" in capsys.readouterr().err


def test_static_keeps_what_is_no_widget() -> None:
    text = {"output_type": "stream", "name": "stdout", "text": "1"}
    shown = {"output_type": "display_data", "data": {"text/plain": "a"}, "metadata": {}}
    cells = [{"cell_type": "code", "outputs": [text, shown]}, {"cell_type": "markdown"}]
    content = json.dumps({"cells": cells, "metadata": {"widgets": {"state": {}}, "k": 1}})
    found = json.loads(printing.static(content))
    assert found["cells"] == cells and found["metadata"] == {"k": 1}
