"""The whole book, built once at profile smoke in a copy of the project, read as a reader would."""

import json
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import (
    PHONE,
    launched,
    needs_chromium,
    overflowing,
    portraits,
    reading,
    resize,
    settle,
    thin,
    turn,
    unfold,
    unset,
    violations,
)
from bs4 import BeautifulSoup
from lab_notebooks import LABS, secrets
from matplotlib.colors import to_hex
from PIL import Image
from sphinx_external_toc.parsing import parse_toc_yaml

import dualdiff
from dualdiff.pages.names import CONFIGURATIONS
from dualdiff.publish import book
from dualdiff.publish.project import project_root

PAGES = (
    "notebooks/00_sixty_lines",
    "notebooks/01_theory",
    "notebooks/02_synthetic_scenarios",
    "notebooks/02_round_table",
    "notebooks/03_overlap_study",
    "notebooks/04_robot_data",
    "notebooks/04b_robot_details",
    "notebooks/05_finetune_vs_joint",
    "notebooks/06_composition_rules",
    "notebooks/07_correct_products",
    "notebooks/08_learned_weights",
    "notebooks/08b_parts_and_amdm",
    "notebooks/09_results",
    "notebooks/10_which_method",
    "notebooks/11_rerun",
    "notebooks/12_your_data",
    "notebooks/12b_real_data",
    "notebooks/13_home_after_home",
    "notebooks/14_guidance_on_pictures",
    "notebooks/14b_two_controls",
    "notebooks/14c_class_and_style",
    "notebooks/15_few_shots",
    "notebooks/16_spaces_and_stages",
    "notebooks/17_other_experts",
    "notebooks/systems",
    "notebooks/tour",
    "notebooks/benchmark",
    "notebooks/playground",
    "notebooks/01b_fresh_noise",
)
DOCUMENTS = (*parse_toc_yaml(project_root() / "_toc.yml"), "genindex", "search")


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
    for name in ("labs", "data"):
        shutil.copytree(source / "notebooks" / name, root / "notebooks" / name)
    startup = root / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(Path(__file__).parent.parent / "drawn_figures.py", startup)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALDIFF_STORE", str(root / "_build" / "store"))
        patch.setenv("IPYTHONDIR", str(root / "ipython"))
        patch.setenv("DRAWN_FIGURES", str(root / "figures.jsonl"))
        book.build(root, "smoke")  # raises if a chapter fails or Sphinx warns
        yield root


@cache
def html(built: Path) -> dict[Path, BeautifulSoup]:
    """Every page of the book, parsed once for all tests, which only look."""
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
                    # What begins with weights are settings of a widget: see share.js.
                    place = known.find(id=wanted) or wanted in ("", "top")
                    assert place or wanted.startswith("w="), f"{path}: {element}"
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


def test_figures_of_all_chapters_keep_the_laws_of_the_book(built: Path) -> None:
    """Axes are named, lines have colours of the registry or none, nothing leaves the canvas."""
    figures = [json.loads(line) for line in (built / "figures.jsonl").read_text().splitlines()]
    known = {to_hex(known.colour) for known in CONFIGURATIONS.values()}
    assert len(figures) > 50
    for figure in figures:
        assert not figure["unnamed"], figure
        assert not {*figure["colours"]} - known, figure
        assert figure["beyond"] < 0.03, figure


def test_tables_have_captions_few_columns_and_their_numbers(built: Path) -> None:
    found = 0
    for path, page in html(built).items():
        for table in page.select("figure.numbers table"):
            figure = table.find_parent("figure")
            assert figure is not None and figure.find("figcaption"), path
            assert figure.select_one('a[download][href^="data:text/csv"]'), path
            heads = table.select_one("thead tr")
            assert heads is not None and len([h for h in heads.select("th") if h.text]) <= 6, path
            found += 1
    assert found > 30


@pytest.mark.parametrize(
    ("page", "title", "printed"),
    [
        ("02_synthetic_scenarios", "the cabinet", ("0.093", "0.652")),
        ("02_round_table", "the round table", ("0.039", "0.248")),
    ],
)
def test_both_scenario_pages_hold_the_table(
    built: Path, page: str, title: str, printed: tuple[str, ...]
) -> None:
    content = html(built)[Path("notebooks") / f"{page}.html"]
    heading = content.find("h1")
    assert heading is not None and title in heading.get_text()
    tables = [table.get_text(" ") for table in content.select("table.dataframe")]
    for column in ("thesis (printed)", "ours, plain", "ours, tuned", "exact members"):
        assert any(column in text for text in tables)
    for number in printed:
        assert any(number in text for text in tables)
    for label in ("general", "specialised", "fine-tuned", "joint", "fine-tuned joint"):
        assert any(label in text for text in tables)
    figures = content.select("figure img")
    assert len(figures) >= 6
    assert all(image.get("alt") for image in figures)
    assert all(figure.find("figcaption") for figure in content.select("figure"))


@pytest.mark.parametrize("lab", LABS)
def test_the_book_gives_no_answers_to_a_lab(built: Path, lab: str) -> None:
    """Not on its page, nor in what can be saved or searched, nor in a guide for teachers."""
    folder = built / "_build" / "html"
    page = html(built)[Path("book") / "labs" / f"{lab}.html"]
    assert page.select_one(f'a.save-lab[data-notebook="{lab}"]') and page.find(id=lab)
    text = page.get_text()
    assert text.count("grader.check(") > 5 and page.select_one("figure img[alt]")
    found = secrets(lab)
    assert len(found) > 40 and not [secret for secret in found if secret in text]
    found += [json.dumps(secret)[1:-1] for secret in found]
    for path in (*folder.glob("labs/*"), *folder.glob("book/*.html"), folder / "searchindex.js"):
        content = path.read_text("utf-8")
        assert not [secret for secret in found if secret in content], path
    assert not [path for path in folder.rglob("*") if "guide" in path.name.lower()]


def test_a_second_build_runs_nothing(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = {p: p.stat().st_mtime_ns for p in (built / "_build" / "executed").rglob("*.ipynb")}
    book.build(built, "smoke")
    again = {p: p.stat().st_mtime_ns for p in (built / "_build" / "executed").rglob("*.ipynb")}
    assert again == executed


def test_no_page_names_a_script_a_picture_or_a_style_from_elsewhere(built: Path) -> None:
    loaded = [("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")]
    for path, page in html(built).items():
        for tag, attribute in loaded:
            for element in page.find_all(tag):
                target = urllib.parse.urlparse(str(element.get(attribute) or ""))
                assert target.scheme in ("", "data") and not target.netloc, f"{path}: {element}"
    styles = list((built / "_build" / "html" / "_static").rglob("*.css"))
    assert styles
    for style in styles:
        text = re.sub(r"/\*.*?\*/", "", style.read_text("utf-8"), flags=re.DOTALL)
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", text), style


def test_the_book_is_small_enough_to_send(built: Path) -> None:
    folder = built / "_build" / "html"
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert total < 40e6, f"{total / 1e6:.1f} MB"
    for path, page in html(built).items():
        pictures = {str(image["src"]) for image in page.find_all("img", src=True)}
        local = {(folder / path).parent / source for source in pictures if ":" not in source}
        size = sum(file.stat().st_size for file in {folder / path} | local)
        assert size < 3e6, f"{path}: {size / 1e6:.1f} MB with its figures"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as one:
        yield one


@needs_chromium
def test_what_is_wrong_with_a_page_is_seen(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        """<!doctype html><html lang="en" data-theme="light"><title>Wrong</title>
        <article class="bd-article"><h1>Wrong</h1>
        <p style="width: 2000px">Wide</p>
        <div style="width: 99px; overflow: hidden; white-space: nowrap">Cut off at its edge</div>
        <div style="width: 99px; overflow: auto"><p style="width: 2000px">Scrolls</p></div>
        <p>It costs $x_1$ or \\frac12, and <code>$HOME</code></p>
        <p style="color: #aaa">Pale</p><img src="http://localhost:9/a.png"><img src="absent.png">
        <script>console.error("a complaint"); throw Error("a failure");</script></article>"""
    )
    with reading(browser, page) as found:
        assert found.outside == ["http://localhost:9/a.png"]
        for problem in ("a complaint", "a failure", "absent.png"):
            assert any(problem in text for text in found.problems)
        wide = ["the page", "beyond the edge: P", "too narrow: DIV"]
        box = ["too narrow: DIV", "beyond the edge: P"]
        for scrolling, expected in (("none", [*wide, *box]), ("div", wide)):
            seen = overflowing(found.page, scrolling=scrolling)
            assert [line.split(" .")[0] for line in seen] == expected
        (raw,) = unset(found.page)
        assert "$x_1$ or \\frac12" in raw and "HOME" not in raw
        broken = {line.split(":")[0] for line in violations(found.page)}
        assert broken == {"color-contrast", "image-alt"}


@needs_chromium
def test_one_piece_of_code_of_each_style_is_looked_at(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        """<!doctype html><html lang="en" data-theme="light"><title>Code</title>
        <main class="bd-article"><h1>Code</h1><pre>
        <span class="n">one</span><span class="n">two</span><span class="n"><b>three</b></span>
        <span class="k" style="color: #aaa">four</span><span class="k" style="color: #aaa">five
        </span><i><span class="n" style="color: #bbb">six</span></i></pre></main>"""
    )
    with reading(browser, page) as found:
        thin(found.page)
        assert found.page.locator("pre").inner_text().split() == ["onethree", "foursix"]
        assert [line.split(":")[0] for line in violations(found.page)] == ["color-contrast"] * 2


def test_every_page_is_read_in_the_browser(built: Path) -> None:
    # The index only leads to the first page.
    found = {path.with_suffix("").as_posix() for path in html(built)}
    assert found == {*DOCUMENTS, "index"}
    assert 'content="0; url=book/intro.html"' in (
        built / "_build" / "html" / "index.html"
    ).read_text("utf-8")


@needs_chromium
@pytest.mark.parametrize("name", DOCUMENTS)
def test_pages_in_a_real_browser(built: Path, browser: Any, name: str) -> None:
    with reading(browser, built / "_build" / "html" / f"{name}.html") as found:
        page = found.page
        assert page.locator("h1:visible").count()
        assert not page.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        # Every formula is set, and none of it is TeX that MathJax does not know.
        assert page.locator(".math").count() == page.locator(".math mjx-container").count()
        assert not page.locator("mjx-merror, [data-mjx-error], mjx-mtext[style*=color]").count()
        unfold(page)
        assert not page.evaluate(  # lines of code stay lines
            "[...document.querySelectorAll('.bd-article pre')].filter(part =>"
            " !getComputedStyle(part).whiteSpace.startsWith('pre')).map(part => part.textContent)"
        )
        assert not overflowing(page)
        assert not unset(page)
        assert not page.get_by_text(re.compile(r"\w+Warning: ")).count()
        # pandas cuts what it finds too long or too many.
        assert not page.locator("table.dataframe").get_by_text(re.compile(r"\.\.\.$")).count()
        resize(page, 390)
        assert not overflowing(page, scrolling=PHONE)
        assert not violations(page, "scrollable-region-focusable")
        resize(page, 1280)
        thin(page)
        assert not violations(page)
        turn(page, "dark")
        assert not violations(page, "color-contrast", "link-in-text-block")  # what the mode changes
        assert not found.outside
        assert not found.problems


@needs_chromium
@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("book/intro", "welcome"),
        ("notebooks/02_synthetic_scenarios", "scenario"),
        ("notebooks/playground", "playground"),
    ],
)
def test_pictures_of_pages_are_kept(built: Path, browser: Any, page: str, name: str) -> None:
    pictures = portraits(browser, built / "_build" / "html" / f"{page}.html", name)
    assert set(pictures) == {"light", "dark", "phone"}
    brightness = {}
    for view, path in pictures.items():
        with Image.open(path) as picture:
            assert picture.width == (390 if view == "phone" else 1280)
            brightness[view] = picture.convert("L").resize((1, 1)).getpixel((0, 0))
    assert brightness["dark"] < 128 < brightness["light"]


@needs_chromium
def test_the_reader_can_choose_the_mode(built: Path, browser: Any) -> None:
    with reading(browser, built / "_build" / "html" / "book" / "intro.html") as found:
        modes = []
        for _ in range(3):
            found.page.locator(".theme-switch-button").first.click()
            modes.append(found.page.evaluate("document.documentElement.dataset.mode"))
        assert sorted(modes) == ["auto", "dark", "light"]
        assert not found.problems


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_search_works_from_the_disk(built: Path, browser: Any, width: int) -> None:
    with reading(browser, built / "_build" / "html" / "book" / "intro.html", width=width) as found:
        page = found.page
        page.keyboard.press("Control+k")
        page.keyboard.type("Langevin")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=Langevin")
        results = page.locator("#search-results li a")
        results.first.wait_for()
        settle(page)
        assert any(
            "07_correct_products" in str(link.get_attribute("href")) for link in results.all()
        )
        results.first.click()
        page.wait_for_url(re.compile(r"/(notebooks|book)/[^?]*\.html"))
        settle(page)
        assert page.locator("article h1").is_visible()
        assert not found.outside
        assert not found.problems


SETTLED = """() => {
  const view = document.querySelector(".dualdiff-composition")?.view;
  return view && !view.sent && !view.next && view.result?.fine;
}"""


@needs_chromium
def test_the_playground_works_without_a_kernel(built: Path, browser: Any) -> None:
    path = built / "_build" / "html" / "notebooks" / "playground.html"
    with reading(browser, path) as found:
        page = found.page
        page.wait_for_function(SETTLED, timeout=60_000)
        state = "document.querySelector('.dualdiff-composition').view.model"
        shows = "document.querySelector('.dualdiff-composition canvas').toDataURL()"
        scores, pixels = page.evaluate(f"{state}.get('scores')"), page.evaluate(shows)
        slider = page.get_by_role("slider", name="weight, general").first
        slider.focus()
        for _ in range(10):
            page.keyboard.press("ArrowLeft")
        assert page.evaluate(f"{state}.get('w_general')") == pytest.approx(0.5)
        page.wait_for_function(SETTLED, timeout=60_000)
        settle(page)
        assert page.evaluate(f"{state}.get('scores')") != scores
        assert page.evaluate(shows) != pixels
        # The map of the weights follows, and leads.
        marker = page.locator(".dualdiff output", has_text="(0.5, 1)")
        marker.first.wait_for()
        page.get_by_role("button", name="reset").click()
        page.wait_for_function(f"{state}.get('w_general') === 1")
        assert slider.input_value() == "1"
        # Without a kernel there is no torch to choose.
        assert not page.get_by_role("combobox", name="computed by").count()
        assert not found.outside
        assert not found.problems


@needs_chromium
def test_the_first_page_moves_and_stands_still_without_scripts(built: Path, browser: Any) -> None:
    path = built / "_build" / "html" / "book" / "intro.html"
    with reading(browser, path) as found:
        page = found.page
        page.wait_for_function(SETTLED, timeout=60_000)
        assert not page.locator(".welcome img:visible").count()
        canvas = page.locator(".dualdiff-composition canvas")
        box = canvas.bounding_box()
        assert box["y"] + box["height"] < 800  # in view, without scrolling
        shares = "document.querySelector('.dualdiff-composition').view.result.news.shares"
        inside = page.evaluate(shares)
        # The small disc by a pointer: out of the large one.
        x, y = box["x"] + 0.48 * box["width"], box["y"] + 0.46 * box["height"]
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 0.35 * box["width"], y, steps=4)
        page.mouse.up()
        page.wait_for_function(SETTLED, timeout=60_000)
        outside = page.evaluate(shares)
        assert inside["both"] > 0.8 and outside["both"] < 0.05 and outside["neither"] > 0.5
        page.get_by_role("button", name="inside").click()
        page.wait_for_function(SETTLED, timeout=60_000)
        assert page.evaluate(shares) == inside
        assert not found.outside and not found.problems
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator(".welcome img:visible").count() == 3
    context.close()


def test_pages_say_what_they_are_of(built: Path) -> None:
    """In their foot, and to whoever shows a link to them."""
    folder = built / "_build" / "html"
    texts = set()
    for name in ("book/intro", "notebooks/01_theory", "book/reference/models"):
        page = BeautifulSoup((folder / f"{name}.html").read_text(), "html.parser")
        foot = page.find("footer", class_="bd-footer-content").get_text()
        assert f"dualdiff {dualdiff.__version__}" in foot and "built on 20" in foot
        (card,) = page.find_all("meta", property="og:image")
        assert (folder / name).parent.joinpath(card["content"]).resolve().is_file()
        (words,) = page.find_all("meta", property="og:description")
        assert 40 < len(words["content"]) <= 310
        assert len(page.find_all("meta", attrs={"name": "description"})) == 1
        texts.add(words["content"])
        assert page.find("link", rel="shortcut icon") or page.find("link", rel="icon")
    assert len(texts) == 3


@needs_chromium
def test_each_lab_is_saved_from_the_disk(built: Path, browser: Any) -> None:
    folder = built / "_build" / "html"
    names = sorted(path.stem for path in (built / "notebooks" / "labs").glob("*.ipynb"))
    page = browser.new_page(accept_downloads=True)
    page.goto((folder / "book" / "labs.html").as_uri())
    links = page.locator("a.save-lab")
    assert [link.inner_text() for link in links.all()] == [f"{name}.ipynb" for name in names]
    for name, link in zip(names, links.all(), strict=True):
        with page.expect_download() as saving:
            link.click()
        assert saving.value.suggested_filename == f"{name}.ipynb"
        saved = Path(saving.value.path()).read_text("utf-8")
        copy = (folder / "labs" / f"{name}.ipynb").read_text("utf-8")
        assert json.loads(saved) == json.loads(copy)
        assert "SOLUTION" not in saved
    page.close()
