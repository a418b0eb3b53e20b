"""The pictures of the labs' pages: ``python notebooks/labs/pictures.py [LAB ...]``.

Plays a notebook with solutions (``make labs`` makes them) to a cell that draws, or defines what
draws, and writes the figure to ``book/assets/labs/LAB.png``.
"""

import base64
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
SHARP = "%config InlineBackend.figure_formats = ['retina']"
# What is in the last cell that is played, and what is then run besides.
CELLS = {
    "lab1_noise": ("def samples_figure(", ""),
    "lab2_product": ("def draw_laws(", ""),
    "lab3_specialise": ('frame(offsets, "Seen from the cabinet")', ""),
    "lab4_overlap": (
        "def show(",
        'show(3.0, "sharp")\nplt.gca().set_xlabel("$u_x$ (units of y)");',
    ),
    "lab5_robot": ("robot_scenes.legend(figure, samples=False)", ""),
}


def draw(name: str) -> bytes:
    """The picture of a lab."""
    notebook = nbformat.read(ROOT / "_build" / "labs" / "solutions" / f"{name}.ipynb", 4)
    cells = [cell for cell in notebook.cells if "grader" not in cell.source]
    last, code = CELLS[name]
    (end,) = [n for n, cell in enumerate(cells) if last in cell.source]
    first, more = map(nbformat.v4.new_code_cell, (SHARP, code))
    notebook.cells = [first, *cells[: end + 1], more]
    NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    outputs = [*cells[end].outputs, *more.outputs]
    images = [one.data["image/png"] for one in outputs if "image/png" in one.get("data", {})]
    return base64.b64decode(images[-1])


if __name__ == "__main__":
    for lab in sys.argv[1:] or CELLS:
        path = ROOT / "book" / "assets" / "labs" / f"{lab}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw(lab))
        print(path)
