"""The whole book, built once at profile smoke in a copy of the project, read as a reader would."""

import os
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from dualdiff import book
from dualdiff.cli import project_root

PAGES = (
    "notebooks/01_theory",
    "notebooks/02_synthetic_scenarios",
    "notebooks/02_round_table",
    "notebooks/03_overlap_study",
    "notebooks/04_robot_data",
    "notebooks/05_finetune_vs_joint",
    "notebooks/06_composition_rules",
    "notebooks/07_correct_products",
    "notebooks/08_learned_weights",
    "notebooks/09_results",
    "notebooks/10_which_method",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the copy; ``_build/html`` in it holds the book."""
    root, source = tmp_path_factory.mktemp("project"), project_root()
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(source / name, root)
    shutil.copytree(source / "book", root / "book")
    (root / "notebooks").mkdir()
    for path in (source / "notebooks").glob("*.ipynb"):
        shutil.copy(path, root / "notebooks")
    before = os.environ.get("DUALDIFF_STORE")
    os.environ["DUALDIFF_STORE"] = str(root / "_build" / "store")
    book.build(root, "smoke")  # raises if a chapter fails or Sphinx warns
    yield root
    if before is None:
        del os.environ["DUALDIFF_STORE"]
    else:
        os.environ["DUALDIFF_STORE"] = before


def html(built: Path) -> dict[Path, BeautifulSoup]:
    """Every page of the book, parsed."""
    folder = built / "_build" / "html"
    return {
        path.relative_to(folder): BeautifulSoup(path.read_text(), "html.parser")
        for path in folder.rglob("*.html")
        if "_static" not in path.parts
    }


def test_every_page_is_there_and_no_internal_link_is_broken(built: Path) -> None:
    folder, pages = built / "_build" / "html", html(built)
    assert {f"{p}.html" for p in PAGES} <= {path.as_posix() for path in pages}
    checked = 0
    for path, page in pages.items():
        for tag, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
            for element in page.find_all(tag):
                target = urllib.parse.urlparse(str(element.get(attribute) or ""))
                if target.scheme or target.netloc or not (target.path or target.fragment):
                    continue
                local = urllib.parse.unquote(target.path)
                goal = (folder / path.parent / local).resolve() if local else folder / path
                assert goal.exists(), f"{path}: {element}"
                if target.fragment and goal.suffix == ".html":
                    known = pages[goal.relative_to(folder.resolve())]
                    wanted = urllib.parse.unquote(target.fragment)
                    assert known.find(id=wanted) or wanted in ("", "top"), f"{path}: {element}"
                checked += 1
    assert checked > 100


def test_no_page_shows_an_error_or_a_warning(built: Path) -> None:
    executed = list((built / "_build" / "executed").rglob("*.ipynb"))
    assert len(executed) == len(PAGES)
    for path in executed:
        for cell in nbformat.read(path, 4).cells:
            for output in cell.get("outputs", []):
                assert output.output_type != "error", path
                assert output.get("name") != "stderr", f"{path}: {output.get('text')}"
    for path, page in html(built).items():
        assert not page.select(".traceback, .system-message"), path


@pytest.mark.parametrize(
    ("page", "title", "printed"),
    [
        ("02_synthetic_scenarios", "the cabinet", ("0.0932", "0.6516", "1.0521")),
        ("02_round_table", "the round table", ("0.0386", "0.2482", "17.7673")),
    ],
)
def test_both_scenario_pages_hold_the_table(
    built: Path, page: str, title: str, printed: tuple[str, ...]
) -> None:
    content = html(built)[Path("notebooks") / f"{page}.html"]
    heading = content.find("h1")
    assert heading is not None and title in heading.get_text()
    tables = [table.get_text(" ") for table in content.select("table.dataframe")]
    for column in ("thesis (printed)", "ours, thesis", "ours, tuned", "ours, exact"):
        assert any(column in text for text in tables)
    for number in printed:
        assert any(number in text for text in tables)
    for label in ("general", "specialised", "fine-tuned", "joint", "fine-tuned joint"):
        assert any(label in text for text in tables)
    figures = content.select("figure img")
    assert len(figures) >= 6
    assert all(image.get("alt") for image in figures)
    assert all(figure.find("figcaption") for figure in content.select("figure"))


def test_a_second_build_runs_nothing(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = {p: p.stat().st_mtime_ns for p in (built / "_build" / "executed").rglob("*.ipynb")}
    book.build(built, "smoke")
    again = {p: p.stat().st_mtime_ns for p in (built / "_build" / "executed").rglob("*.ipynb")}
    assert again == executed


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")


@pytest.mark.skipif(
    _chromium() is None and not os.environ.get("CI"),
    reason="no Chromium on this computer (in CI this is a failure)",
)
@pytest.mark.parametrize("page", ["book/intro", *PAGES])
def test_pages_in_a_real_browser(built: Path, page: str) -> None:
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        view.on("pageerror", lambda error: problems.append(str(error)))
        # Nothing outside the folder: what a page asks from elsewhere is refused at once.
        view.route("http*://**", lambda route: route.abort())
        view.goto((built / "_build" / "html" / f"{page}.html").as_uri(), wait_until="load")
        broken = view.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        width = view.evaluate("document.documentElement.scrollWidth")
        assert view.locator("article h1").first.is_visible()
        browser.close()
    assert not broken
    assert width <= 1280
    assert not problems
