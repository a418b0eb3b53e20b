"""A page as slides: one HTML file that scrolls from slide to slide and asks for nothing else.

What is on a slide stands in the metadata of the notebook's cells, ``slideshow``, as JupyterLab
writes it and nbconvert reads it; the template is ``templates/slides.html.j2``.
"""

from __future__ import annotations

import json
from pathlib import Path

TEMPLATE = Path(__file__).with_name("templates") / "slides.html.j2"


def has_slides(notebook: Path) -> bool:
    """Whether cells of a notebook say what is on a slide."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return any("slideshow" in cell["metadata"] for cell in cells)


def write(executed: Path, page: str, folder: Path) -> Path:
    """Write the slides of an executed notebook, ``NAME.slides.html``, and return the file.

    Parameters
    ----------
    executed : Path
    page : str
        The page of the book that it is, seen from ``folder``: links on slides are relative to it.
    folder : Path
    """
    from nbconvert.exporters import HTMLExporter  # takes a second, and few pages have slides

    exporter = HTMLExporter(template_name="basic", template_file=str(TEMPLATE))  # type: ignore[no-untyped-call]
    text, _ = exporter.from_filename(str(executed), {"base": page})
    goal = folder / f"{Path(page).name}.slides.html"
    goal.write_text(text, "utf-8")
    return goal
