"""A page as slides: one HTML file that scrolls from slide to slide and asks for nothing else.

What is on a slide stands in the metadata of the notebook's cells, ``slideshow``, as JupyterLab
writes it and nbconvert reads it; how a slide looks, in ``book/slides.html.j2``.
"""

from __future__ import annotations

import json
from pathlib import Path

TEMPLATE = "book/slides.html.j2"


def has_slides(notebook: Path) -> bool:
    """Whether cells of a notebook say what is on a slide."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return any("slideshow" in cell["metadata"] for cell in cells)


def write(executed: Path, name: str, root: Path, html: Path) -> Path:
    """Write the slides of an executed notebook, ``_static/NAME.slides.html``, and return the file.

    Parameters
    ----------
    executed : Path
    name : str
        The document that it is; links on slides are relative to its page.
    root : Path
        The project, with :data:`TEMPLATE`.
    html : Path
        The book, whose scripts and styles are in ``_static``.
    """
    from nbconvert.exporters import HTMLExporter  # takes a second, and few pages have slides

    exporter = HTMLExporter(template_name="basic", template_file=str(root / TEMPLATE))  # type: ignore[no-untyped-call]
    text, _ = exporter.from_filename(str(executed), {"base": f"../{name}.html"})
    goal = html / "_static" / f"{Path(name).name}.slides.html"
    goal.write_text(text, "utf-8")
    return goal
