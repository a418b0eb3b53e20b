"""What the book says about citing it is what the project's files say; references lead somewhere."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pybtex.database import parse_file

from dualdiff import __version__

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


def test_an_archive_is_told_the_same() -> None:
    known, archive = yaml.safe_load(FILE), json.loads((ROOT / ".zenodo.json").read_text("utf-8"))
    for name in ("title", "version", "license"):
        assert archive[name] == known[name]
    assert [one["name"] for one in archive["creators"]] == [one["name"] for one in known["authors"]]
    assert known["version"] == __version__
    (thesis,), (told,) = known["references"], archive["references"]
    assert thesis["title"] in told and str(thesis["year"]) in told


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_is_pinned_and_there(path: Path) -> None:
    text = path.read_text("utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert {*re.findall(r"^make (\w+)", "\n".join(runs), re.M)} <= {*targets}


def test_every_python_that_is_allowed_is_tested() -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    tested = yaml.safe_load(text)["jobs"]["tests"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f">={tested[0]}" == project["requires-python"]


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
