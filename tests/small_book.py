"""Books of two or three pages, built in seconds, for tests of what becomes of pages."""

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import yaml
from test_runner import write

from dualdiff.publish import book

ROOT = Path(__file__).parent.parent
CONFIG = """\
title: Small
only_build_toc_files: true
execute: {execute_notebooks: "off"}
sphinx:
  extra_extensions: [dualdiff.publish.book]
  config:
    html_static_path: [book/assets]
    html_css_files: [print.css]
    html_theme_options: {use_download_button: true}
    dualdiff_pages: {}
"""
TOC = """\
format: jb-book
root: book/intro
chapters:
  - file: book/running
  - file: notebooks/01_first
"""


def make(root: Path, *code: str) -> Path:
    """Write the sources of a book whose last page is a notebook with these cells."""
    (root / "_config.yml").write_text(CONFIG)
    (root / "_toc.yml").write_text(TOC)
    (root / "book" / "assets").mkdir(parents=True)
    shutil.copy(ROOT / "book" / "assets" / "print.css", root / "book" / "assets")
    (root / "book" / "intro.md").write_text("# Welcome\n\nSee {doc}`../notebooks/01_first`.\n")
    (root / "book" / "running.md").write_text("# Running\n\n% chapter times\n")
    write(root / "notebooks" / "01_first.ipynb", *code)
    return root


def settings() -> dict[str, Any]:
    """Those of our book."""
    known: dict[str, Any] = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    return known


def ours(root: Path, heading: str, *code: str) -> Path:
    """Build a book with the settings and the assets of ours, and return its second page.

    That is a notebook with this heading and these cells; the first page says nothing.
    """
    config = settings()
    del config["bibtex_bibfiles"]
    for name in ("bibtex_reference_style", "dualdiff_pages"):
        del config["sphinx"]["config"][name]
    (root / "_config.yml").write_text(json.dumps(config), "utf-8")
    (root / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters: [{file: chapter}]\n")
    (root / "intro.md").write_text("# Start\n\nNo widgets.\n", "utf-8")
    shutil.copytree(ROOT / "book" / "assets", root / "book" / "assets")
    cells = [nbformat.v4.new_markdown_cell(heading), *map(nbformat.v4.new_code_cell, code)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), root / "chapter.ipynb")
    book.build(root, "smoke")
    return root / "_build" / "html" / "chapter.html"
