"""The book on one page, and on paper: a single HTML file, printed by a browser that is there.

No typesetting system is needed: Sphinx writes all pages into one (its builder ``singlehtml``), a
style sheet says how they break (``book/assets/print.css``), and Chromium prints to PDF without a
window. Widgets cannot move on paper, so their static pictures stand in their place.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

BUILDER = "singlehtml"
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/png", "image/svg+xml", "image/jpeg", "text/html")
"""What may stand for a widget on paper, the first that it has."""
NO_PICTURE = "*This part moves: it is in the book's HTML pages.*"
_NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


class PrintError(RuntimeError):
    """The single page was written, the PDF was not."""


def static(content: str) -> str:
    """A notebook (JSON) with a picture, or a sentence, in the place of every widget.

    Parameters
    ----------
    content : str
        An executed notebook.
    """
    notebook = json.loads(content)
    notebook["metadata"].pop("widgets", None)  # their state, which no script will read
    for cell in notebook["cells"]:
        outputs, before = cell.get("outputs", []), ""
        for output in list(outputs):
            data = output.get("data", {})
            if WIDGET in data and "data-widget=" in before:
                outputs.remove(output)  # a widget of ours: its picture is there already
            elif WIDGET in data:
                output["data"] = _pictured(data)
            before = "".join(data.get("text/html", ""))
    return json.dumps(notebook)


def _pictured(data: dict[str, Any]) -> dict[str, Any]:
    for kind in PICTURES:
        if kind in data:
            return {kind: data[kind]}
    return {"text/markdown": NO_PICTURE}


def at_root(folder: Path, document: str) -> Path:
    """Put the single page where its own paths say that it is, and return it.

    Sphinx writes it in the place of the first document, ``book/intro.html``, and writes what it
    needs relative to the root; an ``index.html`` that only leads there is in the way.
    """
    page, index = folder / f"{document}.html", folder / "index.html"
    text = page.read_text("utf-8").replace(f'href="{document}.html', 'href="')
    page.unlink()
    index.write_text(text, "utf-8")
    return index


def find_chromium() -> str | None:
    """A Chromium or Chrome: the one that ``DUALDIFF_CHROMIUM`` names, else one that is found."""
    named = os.environ.get("DUALDIFF_CHROMIUM")
    return next(filter(None, map(shutil.which, [named] if named else _NAMES)), None)


def to_pdf(page: Path, output: Path, *, timeout: float = 600.0) -> Path:
    """Print an HTML file to PDF.

    Parameters
    ----------
    page, output : Path
    timeout : float
        Seconds after which the browser is ended.

    Raises
    ------
    PrintError
        If there is no Chromium, or it fails. The page is there all the same.
    """
    browser = find_chromium()
    if browser is None:
        named = os.environ.get("DUALDIFF_CHROMIUM")
        why = (
            f"DUALDIFF_CHROMIUM is {named!r}, which is no program"
            if named
            else "neither Chromium nor Chrome was found"
        )
        raise PrintError(
            f"The single page is written, the PDF is not: {why}. Install one of them, name it in "
            f"DUALDIFF_CHROMIUM, or open the page in any browser and print it: {page}"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dualdiff-") as profile:
        partial = Path(profile) / "book.pdf"
        command = [
            *(browser, "--headless", "--disable-gpu", "--no-first-run"),
            *(["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []),
            *("--disable-background-networking", f"--user-data-dir={profile}"),
            # The time that scripts think has passed: formulas are set by one of them.
            "--virtual-time-budget=60000",
            "--generate-pdf-document-outline",
            *("--no-pdf-header-footer", f"--print-to-pdf={partial}", page.resolve().as_uri()),
        ]
        try:
            result = subprocess.run(command, capture_output=True, timeout=timeout)
            said = result.stderr.decode(errors="replace").strip().splitlines()[-3:]
        except subprocess.TimeoutExpired:
            said = [f"it was ended after {timeout:g} s"]
        if not partial.is_file() or not partial.read_bytes()[:5] == b"%PDF-":
            raise PrintError(
                f"The single page is written ({page}), but {browser} made no PDF of it:\n"
                + "\n".join(said)
            )
        shutil.move(partial, output)
    return output
