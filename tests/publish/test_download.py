"""A page gives its notebook, also when the book is opened from disk."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from small_book import make
from small_lab import source

from dualdiff.publish import book, download, launch, printing


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A notebook whose text could end an element, and its page."""
    root = make(tmp_path_factory.mktemp("small"), 'print("</script> & <b>")')
    return root / "notebooks" / "01_first.ipynb", (
        book.build(root, "smoke").parent / "notebooks" / "01_first.html"
    )


def test_the_page_carries_its_source(page: tuple[Path, Path]) -> None:
    notebook, html = page
    parsed = BeautifulSoup(html.read_text(), "html.parser")
    carried = json.loads(parsed.find(id=download.IDENTITY).string)
    assert carried == json.loads(notebook.read_text())
    assert not any(cell.get("outputs") for cell in carried["cells"])
    nbformat.validate(nbformat.from_dict(carried))
    (button,) = parsed.select(f".btn-{download.LABEL}")
    assert "01_first.ipynb" in button["onclick"]


def launches(html: Path) -> dict[str, str]:
    """Addresses of the buttons that need a repository, by their host."""
    links = BeautifulSoup(html.read_text(), "html.parser").select(".article-header-buttons a[href]")
    hrefs = [str(link["href"]) for link in links]
    return {href.split("/")[2]: href for href in hrefs if "://" in href}


def test_without_a_repository_nothing_is_launched(page: tuple[Path, Path]) -> None:
    assert launches(page[1]) == {}


def test_with_a_repository_chapters_can_be_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALDIFF_REPOSITORY", "https://github.com/me/mine")
    root = make(tmp_path, "1")
    config = (root / "_config.yml").read_text()
    variant = "dualdiff_pages: {notebooks/02_other: {source: notebooks/01_first, title: Other}}"
    (root / "_config.yml").write_text(config.replace("dualdiff_pages: {}", variant))
    with (root / "_toc.yml").open("a") as contents:
        contents.write("  - file: notebooks/02_other\n  - file: book/labs/lab0_small\n")
    for path, text in (("notebooks", json.dumps(source())), ("book", "# A lab\n")):
        (root / path / "labs").mkdir()
        kind = "ipynb" if path == "notebooks" else "md"
        (root / path / "labs" / f"lab0_small.{kind}").write_text(text)
    pages = book.build(root, "smoke").parent / "notebooks"
    found = launches(pages / "01_first.html")
    assert found["github.com"] == "https://github.com/me/mine"
    assert found["mybinder.org"] == (
        "https://mybinder.org/v2/gh/me/mine/main?urlpath=lab/tree/notebooks/01_first.ipynb"
    )
    assert found["colab.research.google.com"] == (
        "https://colab.research.google.com/github/me/mine/blob/main/notebooks/01_first.ipynb"
    )
    copy = launches(pages.parent / "book" / "labs" / "lab0_small.html")["mybinder.org"]
    assert copy.endswith("/mine/main?urlpath=lab/tree/_build/labs/student/lab0_small.ipynb")
    # What the book writes itself is in no repository.
    assert {*launches(pages / "02_other.html")} == {"github.com"}


def test_colab_is_for_what_is_on_github() -> None:
    options = {"repository_url": "https://gitlab.com/me/mine", "repository_branch": "v1"}
    launch.in_repository(options)
    assert "colab_url" not in options["launch_buttons"] and options["repository_branch"] == "v1"


def test_pages_that_are_no_notebook_keep_their_button(page: tuple[Path, Path]) -> None:
    running = page[1].parent.parent / "book" / "running.html"
    parsed = BeautifulSoup(running.read_text(), "html.parser")
    assert parsed.find(id=download.IDENTITY) is None
    assert parsed.select(f".btn-{download.LABEL}")[0]["href"].endswith("running.md")
    times = parsed.find("table").get_text()
    assert "A chapter" in times and "this book, profile smoke" in times


@pytest.mark.skipif(
    printing.find_chromium() is None and not os.environ.get("CI"),
    reason="no Chromium on this computer (in CI this is a failure)",
)
def test_a_click_saves_it_from_a_file(page: tuple[Path, Path]) -> None:
    from playwright.sync_api import sync_playwright

    notebook, html = page
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=printing.find_chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        view = browser.new_page(accept_downloads=True)
        view.route("http*://**", lambda route: route.abort())
        view.goto(html.as_uri(), wait_until="load")
        view.click(".dropdown-download-buttons > button")
        with view.expect_download() as saved:
            view.click(f".btn-{download.LABEL}")
        assert saved.value.suggested_filename == notebook.name
        assert json.loads(Path(saved.value.path()).read_text()) == json.loads(notebook.read_text())
        browser.close()


def test_a_page_without_the_button_is_left_alone(tmp_path: Path) -> None:
    context: dict = {"body": "text", "header_buttons": [{"label": "other"}]}
    assert not download.offer(context, tmp_path / "none.ipynb")
    assert context == {"body": "text", "header_buttons": [{"label": "other"}]}
