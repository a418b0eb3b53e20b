"""What the book says about citing it is what the project's files say; references lead somewhere."""

import re
from pathlib import Path

import yaml
from pybtex.database import parse_file

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


def test_every_reference_leads_somewhere() -> None:
    entries = parse_file(ROOT / "book" / "references.bib").entries
    assert len(entries) > 50
    for key, entry in entries.items():
        if key == "thesis":
            continue  # it has no public address that we know of
        doi, url = entry.fields.get("doi"), entry.fields.get("url")
        assert (doi is None) != (url is None), key
        assert re.fullmatch(r"10\.\d{4,9}/\S+", doi or "10.1000/1"), key
        assert re.fullmatch(r"https?://\S+", url or "https://a"), key
        # A preprint has one number, wherever it stands.
        number = entry.fields.get("journal", "").removeprefix("arXiv:")
        if number != entry.fields.get("journal", ""):
            assert doi == f"10.48550/arXiv.{number}", key
