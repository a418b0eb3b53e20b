"""Notebooks are read as they come, and every answer in words reaches the marker."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_lab import built, load

from dualdiff.teaching import reading
from dualdiff.teaching.reading import Unreadable, lab_of, notebook_in, open_answers
from dualdiff.teaching.submission import Lab

LAB = "lab0_small"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return built(tmp_path_factory.mktemp("checkout"))


NO_CELLS = ['{"source": [1]}', '{"source": ""}', "3"]
NO_CELLS += ['{"source": "", "cell_type": "code", "metadata": [1]}']
NO_CELLS += ['{"source": "", "cell_type": "code", "metadata": {"tags": 1}}']
NO_NOTEBOOKS = ["", "hello", "[]", "{}", '{"cells": 3}', "[" * 10**5, "\udcff\udcfe\0"]


@pytest.mark.parametrize("text", NO_NOTEBOOKS + [f'{{"cells": [{cell}]}}' for cell in NO_CELLS])
def test_what_is_no_notebook_is_refused(text):
    with pytest.raises(Unreadable, match="the file is not a notebook"):
        notebook_in(text.encode("utf-8", "surrogateescape"))


@given(
    st.fixed_dictionaries(
        {"cell_type": st.sampled_from(["code", "markdown"])},
        optional={
            "source": st.sampled_from([None, "", "x", ["x", "y"], []]),
            "metadata": st.sampled_from([None, {}, {"tags": None}, {"tags": []}, {"tags": ["a"]}]),
        },
    )
)
def test_what_is_missing_or_null_makes_no_cell_unreadable(cell):
    (read,) = notebook_in(json.dumps({"cells": [cell], "metadata": None}).encode())["cells"]
    assert read["source"] == "".join(cell.get("source") or "")


def test_outputs_do_not_count_and_what_was_written_does(lab, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST", 2**20)
    notebook = load(lab / "student" / f"{LAB}.ipynb")
    picture = {"data": {"image/png": "A" * 2**20}, "output_type": "display_data", "metadata": {}}
    notebook["cells"][-1]["outputs"] = [picture, picture]
    assert len(notebook_in(json.dumps(notebook).encode())["cells"]) == len(notebook["cells"])
    notebook["cells"][-1]["source"] = "x" * (2**20 + 1)
    with pytest.raises(Unreadable, match="1 MiB without its outputs"):
        notebook_in(json.dumps(notebook).encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_the_encodings_of_unicode_are_the_same_notebook(lab, encoding):
    text = (lab / "student" / f"{LAB}.ipynb").read_text("utf-8").replace("Why?", "Почему 🎲?")
    assert notebook_in(text.encode(encoding)) == notebook_in(text.encode())


@pytest.mark.parametrize("metadata", [{}, {"otter": {}}, {"otter": None}, None, {"otter": []}])
def test_a_notebook_that_names_no_lab(metadata):
    assert lab_of({"cells": [], "metadata": metadata}) == ""


def test_the_lab_is_known_by_any_of_three_signs(lab):
    known = {LAB: Lab.load(lab / "autograder" / f"{LAB}.zip").handed_out, "other": None}
    student = notebook_in((lab / "student" / f"{LAB}.ipynb").read_bytes())
    assert lab_of(student, known) == lab_of(student) == LAB
    student["metadata"] = {}
    assert lab_of(student, known) == LAB
    student["cells"] = student["cells"][1:]  # without the cell that starts Otter
    assert lab_of(student, known) == LAB
    student["metadata"] = {"otter": {"assignment_name": "elsewhere"}}
    assert lab_of(student, known) == LAB
    student["cells"] = student["cells"][-1:]
    assert lab_of(student, known) == "elsewhere"  # for the message


def cell(kind: str, source: str, number: int, *tags: str) -> dict:
    return {"cell_type": kind, "source": source, "id": f"c{number}", "tags": list(tags)}


PROMPT = "_Type your answer here, replacing this text._"
PLACES = (3, 7)


def handed_out() -> dict:
    """Two questions that are answered in words, each between what was handed out."""
    cells = [cell("markdown", "# The lab", 0), cell("code", "import math", 1)]
    for number in (2, 6):
        cells += [
            cell("markdown", f"### Question {number}: in words\n\nWhy {number}?", number),
            cell("markdown", PROMPT, number + 1, "otter_answer_cell"),
            cell("markdown", f"<!-- END QUESTION -->\n\n## Part {number}", number + 2),
            cell("code", f"x = {number}", number + 3),
        ]
    return {"cells": cells}


def copy() -> dict:
    return json.loads(json.dumps(handed_out()))


def test_the_untouched_copy_has_no_answers_and_no_remarks():
    assert open_answers(copy(), handed_out()) == ({"open1": "", "open2": ""}, [])


# What may happen to the cell of an answer on its way.
WAYS = ["as it should be", "anew", "below", "above the question", "raw", "code", "split", "at end"]
WAYS += ["in the question", "comment below", "text below", "no code below"]
WAYS += ["short, and at end", "short, and a comment below"]


def answered(notebook: dict, place: int, way: str, words: str) -> None:
    """Put an answer into a notebook in one of the ways."""
    cells = notebook["cells"]
    at = next(n for n, c in enumerate(cells) if c["id"] == f"c{place}")
    new = cell("markdown", words, place + 100)
    if way == "anew":
        cells[at] = new
    elif way in ("below", "above the question", "at end"):  # of cells
        cells.insert({"below": at + 1, "above the question": at - 1}.get(way, len(cells)), new)
    elif way == "split":
        cells[at]["source"], new["source"] = words[:3], words[3:]
        cells.insert(at + 1, new)
    elif way.endswith("below"):
        lines = {"text below": f'"""{words} and so on"""', "no code below": f"{words}, and so on"}
        cells[at + 2]["source"] += "\n" + lines.get(way, f"# {words}")
        cells[at]["source"] = "Short." if way.startswith("short") else PROMPT
    elif way == "short, and at end":
        cells[at]["source"] = "Short."
        cells.append(new)
    elif way == "in the question":
        cells[at - 1]["source"] += f"\n\n{words}"
    else:
        cells[at]["source"] = words
        cells[at]["cell_type"] = way if way in ("raw", "code") else "markdown"


words = st.text(st.characters(categories=["L", "Nd"]), min_size=6).filter(
    lambda text: not {text[:3].casefold(), text.casefold()} & {"why", "the"}
)


@given(st.data())
def test_every_answer_reaches_the_marker_whatever_became_of_its_cell(data):
    notebook, given = copy(), handed_out()
    texts = {}
    for n, place in enumerate(PLACES, 1):
        texts[f"open{n}"] = data.draw(words)
        answered(notebook, place, data.draw(st.sampled_from(WAYS)), texts[f"open{n}"])
    if data.draw(st.booleans(), "ids lost"):
        for c in notebook["cells"]:
            del c["id"]
    if data.draw(st.booleans(), "tags lost"):
        for c in notebook["cells"]:
            c["tags"] = []
    answers, remarks = open_answers(notebook, given)
    shown = "".join("\n".join(answers.values()).split())
    assert list(answers) == ["open1", "open2"]
    for name, text in texts.items():
        for part in (text[:3], text[3:]):
            assert part in shown, (name, answers, remarks)


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_is_shown_at_its_own_question(way):
    notebook = copy()
    answered(notebook, PLACES[1], way, "Because of the noise.")
    answers, remarks = open_answers(notebook, handed_out())
    expected = {"split": "Bec\n\nause of the noise.", "code": "```\nBecause of the noise.\n```"}
    expected["text below"] = "Because of the noise. and so on"
    expected["no code below"] = "Because of the noise., and so on"
    expected |= {way: "Short.\n\nBecause of the noise." for way in WAYS if "short" in way}
    if way == "above the question":  # it may be either question's: shown once, with a remark
        assert sorted(answers.values()) == ["", "Because of the noise."]
    elif way == "short, and at end":  # likewise
        assert sorted(answers.values()) == ["Because of the noise.", "Short."]
    else:
        assert answers == {"open1": "", "open2": expected.get(way, "Because of the noise.")}
    sure = way in ("as it should be", "anew", "below", "split")
    assert bool(remarks) != sure


def test_an_answer_that_is_gone_of_pictures_or_without_end_is_remarked():
    notebook = copy()
    del notebook["cells"][PLACES[0]]
    answers, remarks = open_answers(notebook, handed_out())
    assert answers["open1"] == "" and remarks == ["open1: the cell for its answer is gone"]
    notebook = copy()
    notebook["cells"][PLACES[0]]["source"] = "![](attachment:a.png)"
    notebook["cells"][PLACES[1]]["source"] = "x" * 10**6
    answers, remarks = open_answers(notebook, handed_out())
    assert "picture" in remarks[0] and "1,000,000 characters" in remarks[1]
    assert len(answers["open2"]) < 10**5


def test_ids_of_any_type_are_no_harm():
    notebook = copy()
    for n, c in enumerate(notebook["cells"]):
        c["id"] = [["a"], {}, None, 3, 2.5][n % 5]
    notebook["cells"][PLACES[0]]["source"] = "An answer."
    assert open_answers(notebook, handed_out())[0]["open1"] == "An answer."


def test_without_what_was_handed_out_the_tag_tells(lab):
    student = notebook_in((lab / "student" / f"{LAB}.ipynb").read_bytes())
    answers, _ = open_answers(student)
    assert list(answers) == ["open1"] and answers["open1"].startswith("_Type your answer here")
