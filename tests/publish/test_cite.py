"""What the book says about citing it is what the project's files say."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "book" / "cite.md").read_text()
FILE = (ROOT / "CITATION.cff").read_text()


def test_the_page_shows_the_citation_file() -> None:
    shown = PAGE.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(shown) == yaml.safe_load(FILE)


def test_the_bibtex_entries_say_the_same() -> None:
    known = yaml.safe_load(FILE)
    assert f"title   = {{{known['title']}}}" in PAGE
    assert f"version = {{{known['version']}}}" in PAGE and known["license"] in PAGE
    (thesis,) = known["references"]
    assert thesis["title"] in PAGE and f"{thesis['year']}" in PAGE
    references = (ROOT / "book" / "references.bib").read_text()
    assert thesis["title"] in references


def test_the_licence_is_named_and_there() -> None:
    assert "MIT" in PAGE and (ROOT / "LICENSE").read_text().startswith("MIT License")
