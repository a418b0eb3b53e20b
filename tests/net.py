"""The net under a change of the house: what tables and pages were before, and what they are now.

``python tests/net.py keep FOLDER`` runs all tables at profile smoke in a store of their own, and
keeps the texts and figures of the pages that `make book` has executed. ``python tests/net.py
compare BEFORE AFTER`` says which tables differ, byte for byte, and writes AFTER/sheet.html: the
figures side by side and the words that changed.
"""

import argparse
import base64
import difflib
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXECUTED = ROOT / "_build" / "executed"


def keep(folder: Path, tables: bool) -> None:
    """Write down what there is now."""
    if tables:
        # Beside this Python: of its own environment, whatever the shell's.
        command = [Path(sys.executable).with_name("dualdiff"), "results", "--profile", "smoke"]
        environment = {**os.environ, "DUALDIFF_STORE": str(folder / "store")}
        command += ["--output", folder / "tables"]
        subprocess.run([*map(str, command)], cwd=ROOT, env=environment, check=True)
    for path in sorted(EXECUTED.rglob("*.ipynb")):
        page = folder / "pages" / re.sub("-[0-9a-f]{16}$", "", path.stem)
        shutil.rmtree(page, ignore_errors=True)
        page.mkdir(parents=True)
        words, pictures = read(json.loads(path.read_text("utf-8")))
        (page / "words.md").write_text("\n".join(words), "utf-8")
        for number, (caption, data) in enumerate(pictures):
            (page / f"{number:02d}.png").write_bytes(data)
            (page / f"{number:02d}.txt").write_text(caption, "utf-8")


def read(notebook: dict[str, Any]) -> tuple[list[str], list[tuple[str, bytes]]]:
    """The lines that a reader sees, and the figures with their captions."""
    words: list[str] = []
    pictures: list[tuple[str, bytes]] = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            words += "".join(cell["source"]).splitlines()
            continue
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                picture = base64.b64decode("".join(data["image/png"]))
                pictures.append((figure.get("caption", ""), picture))
                continue
            kind = "text/markdown" if "text/markdown" in data else "text/plain"
            words += "".join(data.get(kind, "")).splitlines()
    return words, pictures


def compare(before: Path, after: Path) -> int:
    """Print which tables differ and write the sheet of pages; how many tables differ."""
    differ = 0
    for path in sorted((before / "tables").glob("*.csv")):
        other = after / "tables" / path.name
        same = other.is_file() and other.read_bytes() == path.read_bytes()
        print(f"{path.name}: {'equal' if same else 'DIFFERS'}")
        differ += not same
    parts = ["<style>img{max-width:48vw} ins{background:#cfc} del{background:#fcc}</style>"]
    for page in sorted({p.name for f in (before, after) for p in (f / "pages").glob("*")}):
        parts.append(f"<h1>{html.escape(page)}</h1><table>")
        both = [sorted((f / "pages" / page).glob("*.png")) for f in (before, after)]
        for n in range(max(map(len, both))):
            cells = [_figure(pictures[n]) if n < len(pictures) else "" for pictures in both]
            parts.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        parts.append(f"</table><pre>{_changes(before, after, page)}</pre>")
    sheet = after / "sheet.html"
    sheet.write_text("\n".join(parts), "utf-8")
    print(sheet)
    return differ


def _figure(path: Path) -> str:
    source = base64.b64encode(path.read_bytes()).decode()
    caption = html.escape(path.with_suffix(".txt").read_text("utf-8"))
    return f'<img src="data:image/png;base64,{source}"><p>{caption}'


def _changes(before: Path, after: Path, page: str) -> str:
    files = [f / "pages" / page / "words.md" for f in (before, after)]
    old, new = (f.read_text("utf-8").splitlines() if f.is_file() else [] for f in files)
    tags = {"-": "del", "+": "ins"}
    lines = [line for line in difflib.ndiff(old, new) if line[0] in tags]
    return "\n".join(f"<{tags[x[0]]}>{html.escape(x)}</{tags[x[0]]}>" for x in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("folder", type=Path)
    keeping.add_argument("--no-tables", dest="tables", action="store_false")
    comparing = commands.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    asked = parser.parse_args()
    if asked.command == "keep":
        keep(asked.folder.resolve(), asked.tables)
        return 0
    return min(compare(asked.before, asked.after), 1)


if __name__ == "__main__":
    sys.exit(main())
