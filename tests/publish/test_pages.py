"""Whatever a cell displays has a place on the page: tables, code, text and formulas."""

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import small_book
from browser import (
    PHONE,
    launched,
    needs_chromium,
    overflowing,
    reading,
    resize,
    settle,
    unfold,
    unset,
)

draw = random.Random(0)
# What CommonMark reads otherwise than TeX: emphasis, HTML, links, escapes.
TERMS = (
    *(r"\mathrm{TV}_s", r"|y_1|", r"w_g", r"x^*", r"p^*_{t}", r"a < b", r"\frac12", r"[a](b)"),
    *(r"\{a, b\}", r"\lVert x \rVert_2", r"a \, b", r"0.5", r"\rho_1 * \rho_2", r"\hat{y}_{-1}"),
)
INLINE = [" + ".join(draw.sample(TERMS, draw.randint(1, 3))) for _ in range(60)]
SENTENCE = "".join(f"it is ${one}$ {draw.random():.2f}, " for one in INLINE)
WIDE = r"y = " + " + ".join(rf"\alpha_{{{n}}} x_{{{n}}}" for n in range(14))
WORDS = ["accuracy", "0.552 ± 0.011", "fine_tuned_joint", "joint", "a remark of several words", "1"]
TABLES = [
    {draw.choice(WORDS) + f"_{n}": draw.choices(WORDS, k=2) for n in range(columns)}
    for columns in range(1, 19)
]
LINE = "name = " + " + ".join(["'nine'"] * 9) + f"  # {'x' * 20}"
CODE = f"""\
import pandas as pd
from IPython.display import Markdown, display
from dualdiff.plots import use_style
use_style()
{LINE}
print("y" * 400)
display(Markdown({SENTENCE!r}), Markdown({f"$${WIDE}$$"!r}))
for columns in {TABLES!r}:
    display(pd.DataFrame(columns))
    display(pd.DataFrame(columns).style.set_caption("A title"))
display(pd.DataFrame({{"remark": [{"long " * 40!r}]}}))
display(Markdown("Text."))
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_book.ours(
        tmp_path_factory.mktemp("small"), "# A chapter\n\n## One\n\n## Two\n", CODE
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as one:
        yield one


@needs_chromium
def test_whatever_is_displayed_fits_its_column(page: Path, browser: Any) -> None:
    with reading(browser, page) as found:
        assert found.page.locator("table").count() == 2 * len(TABLES) + 1
        for width in (1280, 1000, 1600):
            resize(found.page, width)
            assert not overflowing(found.page), width
        resize(found.page, 390)
        assert not overflowing(found.page, scrolling=PHONE)
        assert found.page.locator("table").last.inner_text().count("long") == 40


@needs_chromium
def test_formulas_of_a_cell_are_set_and_tables_stand_apart(page: Path, browser: Any) -> None:
    with reading(browser, page) as found:
        assert found.page.locator("mjx-container").count() == len(INLINE) + 1
        assert not found.page.locator("mjx-merror").count()
        assert not unset(found.page)
        edges = found.page.evaluate(
            """() => [...document.querySelectorAll("table, .cell_output p")].map((part) => {
                const { top, bottom } = part.getBoundingClientRect();
                return [top, bottom];
            })"""
        )
        gaps = [after[0] - before[1] for before, after in pairwise(edges)]
        assert len(gaps) > len(TABLES) and min(gaps) > 8


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_the_contents_of_a_page_can_be_opened(page: Path, browser: Any, width: int) -> None:
    with reading(browser, page, width=width) as found:
        contents = found.page.locator(".bd-sidebar-secondary")
        assert not contents.is_visible()
        found.page.locator(".secondary-toggle").click()
        contents.locator("nav a, .onthispage").first.wait_for()
        found.page.keyboard.press("Escape")
        settle(found.page)
        assert not contents.is_visible()


@needs_chromium
def test_a_folded_table_fits_when_it_is_opened(page: Path, browser: Any) -> None:
    with reading(browser, page) as found:
        found.page.evaluate(
            """() => {
                const last = [...document.querySelectorAll(".output:has(table)")].at(-3);
                const folded = document.createElement("details");
                last.replaceWith(folded);
                folded.append(last);
            }"""
        )
        settle(found.page)
        unfold(found.page)
        assert not overflowing(found.page)
