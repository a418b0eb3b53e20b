"""Pages of the book as a reader opens them: from the disk, in Chromium, without a network."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dualdiff.publish.project import project_root

# What the theme and docutils do and neither settings nor a style sheet can undo: rule of axe, and
# the beginning of the selector of the elements that may break it.
TOLERATED = (
    # docutils: the entries of a bibliography have a role that lists do not know.
    ("aria-required-children", ".citation-list"),
)
STILL = "*, ::before, ::after { animation: none !important; transition: none !important }"


def chromium() -> str | None:
    """The browser of this computer, if it has one."""
    return shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")


needs_chromium = pytest.mark.skipif(
    chromium() is None and not os.environ.get("CI"),
    reason="no Chromium on this computer (in CI this is a failure)",
)


@contextmanager
def launched() -> Iterator[Any]:
    """One browser for as many pages as are to be read."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@dataclass
class Reading:
    """An open page, and what it has done so far that it should not.

    Parameters
    ----------
    page : playwright.sync_api.Page
    outside : list of str
        What it asked from elsewhere than the disk.
    problems : list of str
        Errors of scripts, in the console, and files that are not there.
    """

    page: Any
    outside: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextmanager
def reading(
    browser: Any, path: Path, *, width: int = 1280, mode: str = "light"
) -> Iterator[Reading]:
    """Open a page on a screen of that width, in the mode that the reader's system asks for."""
    size = {"width": width, "height": 844}
    context = browser.new_context(viewport=size, color_scheme=mode, offline=True)
    page = context.new_page()
    found = Reading(page)

    def note(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            found.outside.append(request.url)

    def complain(message: Any) -> None:
        if message.type == "error":
            found.problems.append(message.text)

    page.on("request", note)
    page.on("websocket", lambda socket: found.outside.append(socket.url))
    page.on("requestfailed", lambda request: found.problems.append(f"not there: {request.url}"))
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("console", complain)
    page.goto(path.as_uri(), wait_until="load")
    # No colours in between: what fades in has little contrast for a while.
    page.add_style_tag(content=STILL)
    settle(page)
    yield found
    context.close()


def settle(page: Any) -> None:
    """Wait for the formulas and the fonts, and until what follows from them is drawn."""
    page.evaluate(
        """async () => {
            await window.MathJax?.startup?.promise;
            await document.fonts.ready;
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)));
        }"""
    )


def turn(page: Any, mode: str) -> None:
    """Let the reader's system change to light or dark."""
    page.emulate_media(color_scheme=mode)
    page.wait_for_function("mode => document.documentElement.dataset.theme === mode", arg=mode)
    settle(page)


def unfold(page: Any) -> None:
    """Open everything that a reader can open."""
    page.evaluate(
        """() => {
            for (const part of document.querySelectorAll("details")) part.open = true;
            for (const part of document.querySelectorAll(".toggle-button-hidden")) part.click();
        }"""
    )
    settle(page)


def resize(page: Any, width: int) -> None:
    """Let the reader turn to a screen of another width."""
    page.set_viewport_size({"width": width, "height": 844})
    page.wait_for_timeout(600)  # the theme waits a while before it looks what scrolls now
    settle(page)


# What may scroll in itself on a phone: tables, and formulas that would become too small.
PHONE = ".cell_output .output:has(table), .pst-scrollable-table-container, .wide, :has(> .wide)"


def overflowing(page: Any, *, scrolling: str = "none") -> list[str]:
    """What is wider than the page, its column or its box, whether it stands out, is cut or scrolls.

    Boxes that match the selector ``scrolling`` may scroll in themselves.
    """
    found: list[str] = page.evaluate(
        """(scrolling) => {
            const edge = document.documentElement.clientWidth, found = [];
            if (document.documentElement.scrollWidth > edge) found.push("the page");
            const says = (part) =>
                `${part.tagName} .${part.className} ${part.textContent.slice(0, 40)}`;
            const scrolls = (part) => ["auto", "scroll"].includes(getComputedStyle(part).overflowX);
            for (const article of document.querySelectorAll(".bd-article")) {
                const padding = parseFloat(getComputedStyle(article).paddingRight);
                const column = article.getBoundingClientRect().right - padding;
                for (const part of article.querySelectorAll("*")) {
                    // A formula is as wide as its container; links at headings hang in the margin,
                    // and the parts of a slider move inside it.
                    if (part.closest(
                        "svg, mjx-container *, .visually-hidden, .headerlink, .noUi-target *"
                    )) continue;
                    let box = part.parentElement;
                    while (box !== article && !(scrolls(box) && box.matches(scrolling)))
                        box = box.parentElement;
                    if (box !== article) continue;
                    if (part.getBoundingClientRect().right > Math.min(column, edge) + 1)
                        found.push(`beyond the edge: ${says(part)}`);
                    if (scrolls(part) && part.matches(scrolling)) continue;
                    if (part.clientWidth && part.scrollWidth > part.clientWidth + 1)
                        found.push(`too narrow: ${says(part)}`);
                }
            }
            return found;
        }""",
        scrolling,
    )
    return found


def unset(page: Any) -> list[str]:
    """TeX that a reader sees as it was written: dollars and commands outside formulas and code."""
    text: str = page.evaluate(
        """() => [...document.querySelectorAll(".bd-article")].map((article) => {
            const copy = article.cloneNode(true);
            for (const part of copy.querySelectorAll("mjx-container, pre, code, script, style"))
                part.remove();
            return copy.textContent;
        }).join()"""
    )
    return re.findall(r".{0,40}(?:\$|\\[a-zA-Z]).{0,40}", text)


def thin(page: Any) -> None:
    """Take pieces of code away that are styled as one before them: axe looks at each of them."""
    page.evaluate(
        """() => {
            const seen = new Set();
            const look = (part) => part.matches("pre") ? [] : [
                ...look(part.parentElement), part.className, part.getAttribute("style")];
            for (const part of document.querySelectorAll(".bd-article pre span")) {
                if (part.childElementCount) continue;
                const own = look(part).join();
                if (seen.has(own)) part.remove();
                seen.add(own);
            }
        }"""
    )


def violations(page: Any, *rules: str) -> list[str]:
    """What axe finds serious or critical, by these rules or by all: one line per element."""
    from axe_playwright_python.base import AXE_SCRIPT

    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    # Without `preload` axe would read the style sheets anew, which browsers refuse from the disk.
    # `region` takes long and is never serious.
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    options["rules"] = {"region": {"enabled": False}}
    if rules:
        options["runOnly"] = list(rules)
    result = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{rule['id']}: {node['target'][0]}: {node['failureSummary']}"
        for rule in result["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not any(rule["id"] == name and node["target"][0].startswith(s) for name, s in TOLERATED)
    ]


def portraits(browser: Any, path: Path, name: str) -> dict[str, Path]:
    """Pictures of a whole page, kept in ``_build/screenshots``: light, dark, and on a phone."""
    folder = project_root() / "_build" / "screenshots"
    views = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light")}
    pictures = {}
    for view, (width, mode) in views.items():
        with reading(browser, path, width=width, mode=mode) as found:
            pictures[view] = folder / f"{name}-{view}.png"
            found.page.screenshot(path=pictures[view], full_page=True)
    return pictures
