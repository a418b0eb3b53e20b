"""The pictures of the labs' pages: ``python notebooks/labs/pictures.py [LAB ...]``.

Plays the notebooks with solutions (``make labs`` makes them) and one cell more, whose figure goes
to ``book/assets/labs/LAB.png``.
"""

import base64
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
SHARP = "%config InlineBackend.figure_formats = ['retina']"
CELLS = {
    "lab1_noise": "samples_figure(2, 5, 20, 100)",
    "lab2_product": """\
figure, panels = plt.subplots(1, 4, figsize=(11, 3), sharey=True)
for axes, t in zip(panels, (80, 35, 20, 5), strict=True):
    draw_laws(axes, t)
panels[0].set(ylabel="density (1/dm)")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4);""",
    "lab3_specialise": """\
figure, (room, offsets) = plt.subplots(1, 2, figsize=(8.6, 4.1))
for which, (y, c) in sets.items():
    size = 3 if which == "general" else 6
    dots(room, y[:800, :2], COLOURS[which], markersize=size)
    dots(offsets, (y - c)[:800, :2], COLOURS[which], markersize=size)
room.set(xlabel="x of the plate", ylabel="y of the plate", title="In the room", aspect="equal")
frame(offsets, "Seen from the cabinet")""",
    "lab4_overlap": """\
show(3.0, "sharp")
plt.gca().set_xlabel("$u_x$ (units of y)");""",
    "lab5_robot": """\
look(start, "metric", 1.0, 1.0)
plt.gca().set_title("");""",
}


def draw(name: str) -> bytes:
    """The picture of a lab."""
    notebook = nbformat.read(ROOT / "_build" / "labs" / "solutions" / f"{name}.ipynb", 4)
    cells = [cell for cell in notebook.cells if "grader" not in cell.source]
    first, last = (nbformat.v4.new_code_cell(code) for code in (SHARP, CELLS[name]))
    notebook.cells = [first, *cells, last]
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    (image,) = [one.data["image/png"] for one in last.outputs if "image/png" in one.get("data", {})]
    return base64.b64decode(image)


if __name__ == "__main__":
    for lab in sys.argv[1:] or CELLS:
        path = ROOT / "book" / "assets" / "labs" / f"{lab}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw(lab))
        print(path)
