"""The labs: what students get of them, and whether the marks are the ones that answers deserve."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from lab_notebooks import LABS, ROOT, secrets, with_answers
from small_lab import load, needs_box, source

from dualdiff.publish.cli import main
from dualdiff.teaching import labs
from dualdiff.teaching.marking import mark
from dualdiff.teaching.reading import notebook_in, open_answers
from dualdiff.teaching.sandbox import Limits
from dualdiff.teaching.submission import Lab, Marked

POINTS = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """What ``dualdiff labs`` makes of all labs."""
    out = tmp_path_factory.mktemp("labs")
    assert list(labs.build(ROOT, out)) == [(name, True) for name in LABS]
    return out


def marked(path: Path, made: Path, name: str) -> Marked:
    """A notebook of a lab, marked at the small size in a box."""
    result = Marked(path.name, name)
    tests = Lab.load(made / "autograder" / f"{name}.zip").tests
    mark(result, notebook_in(path.read_bytes()), tests, Limits(seconds=120), size="smoke")
    assert result.complete, result.remarks
    return result


def test_there_are_five_labs_in_order():
    assert [name[:5] for name in LABS] == [f"lab{number}_" for number in range(1, 6)]


@pytest.mark.parametrize("name", LABS)
def test_students_get_no_solution_and_no_hidden_test(made, name):
    student = load(made / "student" / f"{name}.ipynb")
    text = json.dumps(student)
    tests = Lab.load(made / "autograder" / f"{name}.zip").tests
    everything = "\n".join(tests.values())
    visible = "\n".join(student["metadata"]["otter"]["tests"].values())
    names = set(re.findall(r"def (test_\w+)", everything))
    hidden = names - set(re.findall(r"def (test_\w+)", visible))
    assert hidden and "hidden=True" not in visible
    assert not any(test in text for test in hidden)
    assert "SOLUTION" not in text and "ubric" not in text and "failure_message" in text
    for question, answer in labs.questions(LABS[name]).items():
        own = [line for line in answer.splitlines() if "SOLUTION" in line]
        assert own, f"{name} {question}: nothing is left to the student"
    assert not any(cell.get("outputs") for cell in student["cells"])


@pytest.mark.parametrize("name", LABS)
def test_a_lab_has_the_points_and_parts_that_it_promises(made, name):
    lab = Lab.load(made / "autograder" / f"{name}.zip")
    assert sum(lab.points.values()) == POINTS
    student = notebook_in((made / "student" / f"{name}.ipynb").read_bytes())
    assert len(open_answers(student)[0]) == 1
    for question, text in lab.tests.items():
        kinds = set(re.findall(r"hidden=(True|False)", text))
        assert kinds == {"True", "False"}, f"{name} {question} has only {kinds}"
        assert text.count("failure_message=") == text.count("@test_case")
    words = "\n".join(cell["source"] for cell in student["cells"])
    assert re.search(r"minutes|min\b", words) and "Restart" in words


@needs_box
@pytest.mark.parametrize("name", LABS)
def test_the_solution_gets_all_points(made, name):
    result = marked(made / "solutions" / f"{name}.ipynb", made, name)
    lost = {q: [o for o in tests if not o.passed] for q, tests in result.questions.items()}
    assert not any(lost.values()), lost
    assert result.remarks == []


@needs_box
@pytest.mark.parametrize("name", LABS)
def test_the_untouched_copy_gets_nothing(made, name):
    result = marked(made / "student" / f"{name}.ipynb", made, name)
    assert {q: result.marks(q) for q in result.questions} == dict.fromkeys(result.questions, 0)


Mistake = dict[str, Any]


def apart(name: str) -> list[list[Mistake]]:
    """The mistakes of a lab in as few notebooks as keep them out of each other's questions."""
    notebooks: list[list[Mistake]] = []
    for mistake in labs.mistakes(LABS[name]):
        touched = {mistake["question"], *mistake["marks"]}
        for others in notebooks:
            if not any(touched & {one["question"], *one["marks"]} for one in others):
                others.append(mistake)
                break
        else:
            notebooks.append([mistake])
    return notebooks


WRONG = [(name, number) for name in LABS for number in range(len(apart(name)))]


@pytest.mark.parametrize("name", LABS)
def test_each_lab_has_three_typical_mistakes(name):
    titles = [mistake["title"] for mistake in labs.mistakes(LABS[name])]
    assert len(set(titles)) == len(titles) >= 3


@needs_box
@pytest.mark.parametrize(("name", "number"), WRONG)
def test_typical_mistakes_get_the_marks_that_they_deserve(made, tmp_path, name, number):
    mistakes = apart(name)[number]
    solution = made / "solutions" / f"{name}.ipynb"
    path = tmp_path / "wrong.ipynb"
    answers = {mistake["question"]: mistake["answer"] for mistake in mistakes}
    path.write_text(json.dumps(with_answers(solution, name, answers)))
    result = marked(path, made, name)
    full = Lab.load(made / "autograder" / f"{name}.zip").points
    points = full | {q: kept for mistake in mistakes for q, kept in mistake["marks"].items()}
    assert {question: result.marks(question) for question in result.questions} == points
    failed = [o.hint for tests in result.questions.values() for o in tests if not o.passed]
    assert {mistake["caught_by"] for mistake in mistakes} <= {*failed}
    assert sum(points.values()) < POINTS


@pytest.mark.parametrize("name", LABS)
def test_the_teachers_guide_has_every_mistake_with_the_test_that_catches_it(name):
    full = labs.points(LABS[name])
    rows = ["| mistake | keeps | the test that catches it says |", "|---|---|---|"]
    for mistake in labs.mistakes(LABS[name]):
        kept = ", ".join(f"{q}: {got} of {full[q]}" for q, got in mistake["marks"].items())
        rows.append(f"| {mistake['title']} | {kept} | {mistake['caught_by']} |")
    guide = (LABS[name].parent / "GUIDE.md").read_text("utf-8")
    assert "\n\n" + "\n".join(rows) + "\n" in guide, "\n".join(rows)


@pytest.mark.parametrize("name", LABS)
def test_the_page_of_a_lab_is_the_students_copy(made, name):
    page = labs.text(made / "student" / f"{name}.ipynb")
    for cell in load(made / "student" / f"{name}.ipynb")["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            assert f"\n```python\n{text}\n```\n" in page or text.startswith("# Initialize Otter")
        else:
            assert all(line in page for line in re.split(r"\n|<.*?>|\\tag.*|^# .*", text))
    assert not re.search(r"(?m)^# Lab|\\tag|</summary>.|.</details", page)
    found = secrets(name)
    assert len(found) > 40 and not [secret for secret in found if secret in page]


@pytest.mark.parametrize("name", LABS)
def test_the_points_of_a_source_are_those_of_its_tests(made, name):
    assert labs.points(LABS[name]) == Lab.load(made / "autograder" / f"{name}.zip").points


def small(folder: Path) -> Path:
    """A checkout whose only lab is the small one; its source."""
    path = folder / "notebooks" / "labs" / "lab0_small.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(source()))
    return path


def otter_run(archive: Path, notebook: Path, out: Path) -> dict[str, float]:
    """The marks that otter itself gives, without any box."""
    out.mkdir()
    command = [
        sys.executable,
        "-m",
        "otter",
        "run",
        "--no-logo",
        "-a",
        archive,
        "-o",
        out,
        notebook,
    ]
    environment = os.environ | {labs.SIZE: "smoke"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    tests = json.loads((out / "results.json").read_text())["tests"]
    return {test["name"]: test["score"] for test in tests if "score" in test}


@needs_box
def test_the_marks_are_those_of_otter_run(made, tmp_path):
    name = next(iter(LABS))
    mistake = labs.mistakes(LABS[name])[0]
    solution = made / "solutions" / f"{name}.ipynb"
    path = tmp_path / f"{name}.ipynb"
    answers = {mistake["question"]: mistake["answer"]}
    path.write_text(json.dumps(with_answers(solution, name, answers)))
    ours = marked(path, made, name)
    theirs = otter_run(made / "autograder" / f"{name}.zip", path, tmp_path / "out")
    assert {question: ours.marks(question) for question in ours.questions} == theirs


def test_only_what_has_changed_is_made_again(tmp_path):
    path = small(tmp_path)
    out = tmp_path / "out"
    assert list(labs.build(tmp_path, out)) == [("lab0_small", True)]
    first = (out / "student" / "lab0_small.ipynb").read_bytes()
    assert list(labs.build(tmp_path, out)) == [("lab0_small", False)]
    path.write_text(path.read_text().replace("# Small lab", "# A small lab"))
    assert list(labs.build(tmp_path, out)) == [("lab0_small", True)]
    assert (out / "student" / "lab0_small.ipynb").read_bytes() != first
    assert sorted(os.listdir(out)) == [".lab0_small", "autograder", "solutions", "student"]
    with zipfile.ZipFile(out / "autograder" / "lab0_small.zip") as files:
        assert {"tests/q1.py", "tests/q2.py"} <= set(files.namelist())


def test_a_source_that_otter_refuses_is_named_and_nothing_is_lost(tmp_path):
    path, out = small(tmp_path), tmp_path / "out"
    list(labs.build(tmp_path, out))
    before = (out / "student" / "lab0_small.ipynb").read_bytes()
    path.write_text(path.read_text().replace("# END QUESTION", "# NO END"))
    with pytest.raises(RuntimeError, match=r"Otter Assign refuses .*lab0_small\.ipynb"):
        list(labs.build(tmp_path, out))
    assert (out / "student" / "lab0_small.ipynb").read_bytes() == before


def test_an_unknown_lab_is_refused_before_anything_is_made(tmp_path, capsys):
    assert main(["labs", "lab9", "-o", str(tmp_path / "out")]) == 2
    assert f"there is no lab 'lab9'; the labs are {', '.join(LABS)}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_otter_the_error_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise labs.PackageNotFoundError(name)

    monkeypatch.setattr(labs, "version", missing)
    small(tmp_path)
    with pytest.raises(RuntimeError, match=r"pip install \'dualdiff\[labs\]\'"):
        list(labs.build(tmp_path, tmp_path / "out"))


@pytest.mark.parametrize(("value", "expected"), [(None, 3), ("full", 3), ("smoke", 1)])
def test_a_lab_says_both_sizes(monkeypatch, value, expected):
    monkeypatch.delenv(labs.SIZE, raising=False)
    if value:
        monkeypatch.setenv(labs.SIZE, value)
    assert labs.sized(3, 1) == expected


def test_another_size_is_refused(monkeypatch):
    monkeypatch.setenv(labs.SIZE, "tiny")
    with pytest.raises(
        ValueError, match="DUALDIFF_LAB_SIZE must be one of full, smoke, not 'tiny'"
    ):
        labs.sized(3, 1)


def test_answers_are_found_by_their_question(tmp_path):
    assert list(labs.questions(small(tmp_path))) == ["q1", "q2"]
