"""A book of three pages, built in seconds, for tests of what the extension does to pages."""

import shutil
from pathlib import Path

from test_runner import write

ROOT = Path(__file__).parent.parent
CONFIG = """\
title: Small
only_build_toc_files: true
execute: {execute_notebooks: "off"}
sphinx:
  extra_extensions: [dualdiff.book]
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
