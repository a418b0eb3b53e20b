"""A folder of submissions becomes a table, whatever is in the folder."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from nbformat import v4
from small_lab import built, load, needs_box, with_cell

from dualdiff.publish.cli import main
from dualdiff.teaching import competition, grading, sandbox
from dualdiff.teaching.collected import handed_in
from dualdiff.teaching.grading import grade, labs_of
from dualdiff.teaching.sandbox import Limits
from dualdiff.teaching.submission import Outcome

NAME = "lab0_small"
SHORT = Limits(seconds=60)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return built(tmp_path_factory.mktemp("checkout"))


def hand_in(folder: Path, lab: Path) -> Path:
    """Six submissions, one of each kind."""
    solved = load(lab / "solutions" / f"{NAME}.ipynb")
    student = load(lab / "student" / f"{NAME}.ipynb")
    wrong = with_cell(solved, "def twice(f):\n    return lambda x: x + 2")
    ends = with_cell(solved, "import os\nos._exit(1)", 0)
    notebooks = {
        "ada/lab.ipynb": solved,
        "ben/lab.ipynb": student,
        "=cleo.ipynb": wrong,
        "dan.ipynb": ends,
        "eve.ipynb": {"cells": [], "metadata": {}},
    }
    for cell in student["cells"]:
        if "otter_answer_cell" in cell["metadata"].get("tags", []) and cell["cell_type"] != "code":
            cell["source"] = "Nobody *knows*."
    for name, notebook in notebooks.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(notebook))
    (folder / "fay.ipynb").write_text("no notebook")
    (folder / "notes.txt").write_text("not for marking")
    checkpoints = folder / ".ipynb_checkpoints"
    checkpoints.mkdir()
    (checkpoints / "dan-checkpoint.ipynb").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def graded(lab, tmp_path_factory):
    """A folder of submissions that has been marked."""
    folder = hand_in(tmp_path_factory.mktemp("class") / "in", lab)
    out = folder.parent / "marks"
    grade(handed_in(folder), out, labs_of(lab), SHORT, quiet=True)
    return folder, out


def rows(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "marks.csv", index_col="submission", keep_default_na=False)


def enter(out: Path, column: str, entries: str | list[str], **options) -> bytes:
    """Save the table with other entries in a column, as a spreadsheet program does."""
    frame = pd.read_csv(out / "marks.csv", dtype=str, keep_default_na=False)
    frame.assign(**{column: entries}).to_csv(out / "marks.csv", index=False, **options)
    return (out / "marks.csv").read_bytes()


@needs_box
def test_the_table_has_a_row_for_each_and_a_column_for_each_question(graded):
    table = rows(graded[1])
    names = [f"{name}.ipynb" for name in ("'=cleo", "ada/lab", "ben/lab", "dan", "eve", "fay")]
    assert sorted(table.index) == names
    assert list(table.columns[-3:]) == ["q1", "q2", "open1"]
    assert table.loc[names, "marks"].tolist() == [2, 4, 0, 4, 0, 0]
    assert table.loc[names, "of"].tolist() == [4, 4, 4, 4, 0, 0]
    assert table.loc[names, "status"].tolist() == ["marked"] * 4 + ["unreadable"] * 2
    assert table.loc["ada/lab.ipynb", ["q1", "q2", "open1"]].tolist() == ["3", "1", ""]
    assert table.loc["'=cleo.ipynb", ["q1", "q2"]].tolist() == ["1", "1"]
    assert table.loc["eve.ipynb", ["q1", "q2"]].tolist() == ["", ""]
    remarks = table["remarks"]
    assert remarks["ada/lab.ipynb"] == ""
    left_out = "cell 1 of the code: left out, because its process ended"
    assert remarks["dan.ipynb"].startswith(left_out)
    assert "names nothing as its lab, not one of lab0_small" in remarks["eve.ipynb"]
    assert "the file is not a notebook (JSONDecodeError" in remarks["fay.ipynb"]


@needs_box
def test_each_author_gets_a_page_and_answers_in_words_stand_side_by_side(graded):
    pages = {path.stem: path.read_text() for path in (graded[1] / "feedback").iterdir()}
    assert set(pages) == {"ada__lab", "ben__lab", "=cleo", "dan", "eve", "fay"}
    assert "lab0_small: **4 of 4 points**" in pages["ada__lab"]
    assert "## q1: 1 of 3" in pages["=cleo"] and "It works on tensors" in pages["=cleo"]
    assert "lab0_small: **4 of 4 points**" in pages["dan"] and "left out" in pages["dan"]
    text = (graded[1] / "open_answers.md").read_text()
    assert "## lab0_small, open1" in text and "> Nobody *knows*." in text
    assert text.index("### ada/lab.ipynb") < text.index("### ben/lab.ipynb")
    assert not (graded[1] / "leaderboard.csv").exists()  # nobody competes


@needs_box
def test_a_second_call_marks_only_what_is_new_or_was_not_completed(
    graded, lab, tmp_path, monkeypatch
):
    folder, out = (Path(shutil.copytree(path, tmp_path / path.name)) for path in graded)
    before = rows(out)
    played = []
    mark = grading.mark

    def spy(result, *rest, **more):
        played.append(result.file)
        mark(result, *rest, **more)
        result.complete = len(played) > 1  # the first is interrupted, say

    monkeypatch.setattr(grading, "mark", spy)
    (folder / "gus.ipynb").write_text(json.dumps(load(lab / "student" / f"{NAME}.ipynb")))
    (folder / "hal.ipynb").write_text((folder / "ada" / "lab.ipynb").read_text())
    (out / "marks.csv").unlink()
    grade(handed_in(folder), out, labs_of(lab), SHORT, quiet=True)
    assert played == ["gus.ipynb"]
    for _ in range(2):
        grade(handed_in(folder), out, labs_of(lab), SHORT, quiet=True)
    assert played == ["gus.ipynb"] * 2
    after = rows(out)
    same = ["marks", "of", "status", "remarks", "q1", "q2"]
    assert after.loc[before.index, same].equals(before[same])
    assert after.loc["hal.ipynb", "marks"] == 4  # the same file as another's is the same result
    for path in (out / ".done").iterdir():  # what is damaged is made anew
        path.write_text(path.read_text()[:50])
    grade(handed_in(folder), out, labs_of(lab), SHORT, quiet=True)
    assert len(played) > 6 and rows(out).loc["ada/lab.ipynb", "marks"] == 4


@needs_box
def test_the_marks_do_not_depend_on_how_many_play_at_a_time(graded, lab, tmp_path):
    folder, out = graded
    grade(handed_in(folder), tmp_path, labs_of(lab), SHORT, jobs=1, quiet=True)
    measured = ["seconds", "memory_mib"]
    assert rows(tmp_path).drop(columns=measured).equals(rows(out).drop(columns=measured))


@needs_box
def test_a_competition_makes_a_leaderboard_and_a_failure_in_it_is_said(graded, lab, tmp_path):
    folder, _ = graded

    def compete(names):
        share = min(1.0, float(names.get("twice")(lambda x: x / 2)(1.0)))
        shares = dict.fromkeys(competition.SHARES, 0.0) | {"success": share, "error": 0.01}
        name = {1.0: "=top", 0.25: "me"}[share]
        return shares | {"rows": 90, "tasks": 10, "game": "a game", "name": name}

    chosen = {"competitions": {NAME: compete}, "quiet": True}
    grade(handed_in(folder), tmp_path, labs_of(lab), SHORT, **chosen)
    board = pd.read_csv(tmp_path / "leaderboard.csv")
    found = board[["place", "name", "success"]].to_numpy().tolist()
    assert found == [[1, "'=top", 1.0], [2, "ada__lab", 0.25], [2, "dan", 0.25]]
    remarks = rows(tmp_path)["remarks"]
    assert "not in the competition" in remarks["ben/lab.ipynb"]
    assert rows(tmp_path).loc["ben/lab.ipynb", "status"] == "marked"


def test_the_robots_game_is_the_same_in_every_call_and_another_elsewhere(tmp_path):
    seeds = []
    for folder in ("a", "a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        grading._robot_game(tmp_path / folder / "seed")
        seeds.append((tmp_path / folder / "seed").read_text())
    assert seeds[0] == seeds[1] != seeds[2]


def test_what_goes_wrong_in_marking_one_does_not_stop_the_others(lab, tmp_path, monkeypatch):
    folder = hand_in(tmp_path / "in", lab)
    mark = grading.mark

    def fails(result, *rest, **more):
        if result.file == "ada/lab.ipynb":
            raise ZeroDivisionError("seven")
        mark(result, *rest, **more)

    monkeypatch.setattr(grading, "mark", fails)
    out = tmp_path / "out"
    grade(handed_in(folder), out, labs_of(lab), SHORT, confined=False, quiet=True)
    table = rows(out)
    assert table.loc["ada/lab.ipynb", "status"] == "stopped"
    assert "ZeroDivisionError: seven" in table.loc["ada/lab.ipynb", "remarks"]
    assert table.loc["ben/lab.ipynb", "status"] == "marked"


@pytest.fixture
def grading_started(tmp_path):
    """Starts `dualdiff grade` in a process of its own; no test leaves anything of it behind."""
    # A signal that was ignored where the tests were started is not ignored here.
    start = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from dualdiff.publish.cli import main; sys.exit(main(['grade', *sys.argv[1:]]))"
    )
    processes = []

    def started(*arguments: str, **more) -> subprocess.Popen:
        command = [sys.executable, "-c", start, *arguments]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **more))
        return processes[-1]

    yield started
    for process in processes:
        if process.poll() is None:
            left = sandbox.psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for one in left:
                with contextlib.suppress(sandbox.psutil.NoSuchProcess):
                    one.kill()
        process.wait()
        process.stderr.close()


def interrupted(process: subprocess.Popen) -> str:
    """What grading says when it is interrupted; all that it had started ends with it."""
    boxes = sandbox.psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    _, alive = sandbox.psutil.wait_procs(boxes, timeout=30)
    assert boxes and not alive
    return said


@needs_box
def test_an_interruption_ends_all_boxes_and_keeps_what_is_marked(lab, tmp_path, grading_started):
    folder = tmp_path / "in"
    folder.mkdir()
    solved = load(lab / "solutions" / f"{NAME}.ipynb")
    (folder / "a.ipynb").write_text(json.dumps(solved))
    (folder / "b.ipynb").write_text(json.dumps(with_cell(solved, "while True: pass")))
    process = grading_started(str(folder), "--labs", str(lab), "--jobs", "1")
    done = tmp_path / "in-marks" / ".done"
    while not list(done.glob("*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    while not sandbox.psutil.Process(process.pid).children():  # the second is at work
        assert process.poll() is None
    assert "1 of 2 are marked; start it again to go on" in interrupted(process)


@needs_box
def test_an_interruption_while_boxes_start_waits_for_none(lab, tmp_path, grading_started):
    """A box that would take for ever to start: only its end lets grading end."""
    folder, tools, box = tmp_path / "in", tmp_path / "tools", shutil.which("bwrap")
    for made in (folder, tools):
        made.mkdir()
    for name in "abc":
        notebook = with_cell(load(lab / "solutions" / f"{NAME}.ipynb"), f"name = {name!r}")
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook))
    slow = tools / "bwrap"
    slow.write_text(
        f"#!/bin/sh\ncase \"$*\" in *teaching.execution*) > '{tools}'/$$; sleep 10000;; esac\n"
        f'exec {box} "$@"\n'
    )
    slow.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    process = grading_started(
        str(folder), "--labs", str(lab), "--jobs", "2", env=os.environ | {"PATH": path}
    )
    while len(list(tools.iterdir())) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    assert "0 of 3 are marked" in interrupted(process)
    assert len(list(tools.iterdir())) == 3  # the third has not begun


def test_bad_input_is_refused_in_a_sentence(lab, tmp_path, capsys):
    assert main(["grade", str(tmp_path / "nowhere")]) == 2
    assert "which is not a folder" in capsys.readouterr().err
    assert main(["grade", str(tmp_path)]) == 2
    assert "there is no notebook (.ipynb) in" in capsys.readouterr().err
    (tmp_path / "a.ipynb").write_text("{}")
    given = ["grade", str(tmp_path), "--labs", str(lab)]
    for more, words in {  # more limits that are refused: test_confine
        ("--jobs", "0"): "jobs must be at least 1, not 0",
        ("--size", "tiny"): "size must be one of full, smoke, not 'tiny'",
        ("--seconds", "inf"): "seconds must be at least 1 and at most",
        ("--memory", "0.1"): "memory must be at least",
        ("--memory", "nan"): "memory must be at least",
        ("-o", str(tmp_path)): "choose another folder",
        ("-o", str(tmp_path / "out")): "choose another folder",
        ("--lab", "lab9"): "lab must be one of lab0_small, not 'lab9'",
        ("--labs", str(tmp_path)): "holds no labs",
    }.items():
        assert main([*given, *more]) == 2
        assert words in capsys.readouterr().err


def test_a_lab_knows_its_points(lab):
    (only,) = labs_of(lab).values()
    assert only.points == {"q1": 3, "q2": 1} and "def test_tensor" in only.tests["q1"]


@pytest.fixture
def quick(lab, tmp_path, monkeypatch):
    """Marking in which nothing is played: what it is called with, and a folder to mark."""
    played = []

    def mark(result, notebook, tests, limits, **more):
        played.append(result.file)
        result.questions = {"q1": [Outcome(3, True, False, "", "")], "q2": []}
        result.complete = True

    monkeypatch.setattr(grading, "mark", mark)
    student = (lab / "student" / f"{NAME}.ipynb").read_bytes()
    labs = labs_of(lab)

    def call(*names: str | bytes, limits=SHORT, **more):
        for name in names:
            path = os.path.join(os.fsencode(tmp_path / "in"), os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(student)
        said, out = [], tmp_path / "out"
        played.clear()
        try:
            chosen = {"confined": False, "quiet": True, "say": said.append} | more
            grade(handed_in(tmp_path / "in"), out, labs, limits, **chosen)
        finally:
            call.said, call.out, call.played = said, out, list(played)
        return rows(out)

    return call


def test_names_in_any_script_and_of_any_length_get_a_row_and_a_page(quick):
    names = ["Müller/l.ipynb", b"M\xfcller/l.ipynb", "mu\u0308ller/l.ipynb", "MÜLLER/l.ipynb"]
    names += ["ada/b__c.ipynb", "ada__b/c.ipynb", "ada/b/c.ipynb"]
    names += ["x\ny/\u202el.ipynb", "'=1.ipynb"]
    names += [f"{'Ж' * 120}/{'щ' * 100}{n}.ipynb" for n in range(3)]
    table = quick(*names)
    assert len(table) == len(names) and set(table["marks"]) == {3}
    written = [path.read_text() for path in (quick.out / "feedback").iterdir()]
    shown = [label.removeprefix("'") if label[1:2] == "'" else label for label in table.index]
    heads = sorted(text.splitlines()[0] for text in written)
    assert heads == sorted(f"# {grading.plain(label)}" for label in shown)
    entered = {label: f"entry {n}" for n, label in enumerate(table.index)}
    how = {"encoding": "cp1252", "errors": "replace", "sep": ";"}
    kept = enter(quick.out, "open1", [*entered.values()], **how)
    again = quick()
    # What cannot be told apart stays in a row of its own.
    assert set(entered.values()) <= set(again["open1"].tolist())
    for label, entry in again["open1"].items():
        assert entry in ("", entered.get(label, entry))
    assert kept in [path.read_bytes() for path in quick.out.glob("marks-*.csv")]


def test_a_page_that_cannot_be_written_costs_no_other(quick):
    quick("ada.ipynb", "ben.ipynb", "eve.ipynb")
    blocked = quick.out / "feedback" / "ben.md"
    blocked.unlink()
    blocked.mkdir()
    (quick.out / "feedback" / "eve.md").unlink()
    (quick.out / "marks.csv").unlink()
    with pytest.raises(RuntimeError, match=r"ben\.md"):
        quick()
    assert (quick.out / "feedback" / "eve.md").is_file() and len(rows(quick.out)) == 3
    assert quick.said  # how many are marked


def test_pages_of_submissions_that_are_gone_go_too_and_nothing_else(quick, tmp_path):
    quick("ada.ipynb", "ben.ipynb")
    (quick.out / "feedback" / "mine.md").write_text("of the teacher")
    (quick.out / "leaderboard.csv").write_text("of an earlier call")
    (tmp_path / "in" / "ben.ipynb").rename(tmp_path / "in" / "eve.ipynb")
    quick()
    pages = {path.stem for path in (quick.out / "feedback").iterdir()}
    assert pages == {"ada", "eve", "mine"} and not (quick.out / "leaderboard.csv").exists()


def test_all_that_is_ignored_can_be_seen(quick, tmp_path):
    quick("ada/l.ipynb")
    names = [f"ada/{n:02}.csv" for n in range(15)]
    for name in names:
        (tmp_path / "in" / name).write_text("x")
    quick()
    assert "5 more" in quick.said[-1] and "ignored.txt" in quick.said[-1]
    assert (quick.out / "ignored.txt").read_text().splitlines() == names
    for name in names:
        (tmp_path / "in" / name).unlink()
    quick()
    assert not (quick.out / "ignored.txt").exists()


def test_the_untouched_copy_of_another_takes_no_entry_along(quick, tmp_path):
    quick("ada.ipynb")
    enter(quick.out, "open1", "4")
    (tmp_path / "in" / "ada.ipynb").rename(tmp_path / "in" / "ben.ipynb")
    assert quick()["open1"].astype(str).to_dict() == {"ben.ipynb": "", "ada.ipynb": "4"}


def test_other_limits_mark_again_and_the_same_do_not(quick):
    limits = [Limits(60), Limits(60), Limits(61), Limits(61, memory=2**30), Limits(60)]
    counts = []
    for limit in limits:
        quick("ada.ipynb", limits=limit)
        counts.append(len(quick.played))
    quick(limits=Limits(60), size="smoke")
    assert [*counts, len(quick.played)] == [1, 0, 1, 1, 0, 1]


def test_a_table_that_is_open_elsewhere_stops_before_anything_is_marked(quick):
    quick("ada.ipynb")
    (quick.out / ".~lock.marks.csv#").write_text("")
    with pytest.raises(ValueError, match="open in another program"):
        quick("ben.ipynb")
    assert quick.played == []


def test_what_was_entered_while_it_was_marking_counts(quick, monkeypatch):
    quick("ada.ipynb")
    mark = grading.mark

    def slow(result, *rest, **more):
        enter(quick.out, "open1", "4")
        mark(result, *rest, **more)

    monkeypatch.setattr(grading, "mark", slow)
    table = quick("ben.ipynb", again=True)
    assert quick.played and table["open1"].to_dict() == {"ada.ipynb": "4", "ben.ipynb": ""}


def test_a_corrected_question_counts_in_the_sum(quick):
    quick("ada.ipynb", "ben.ipynb")
    enter(quick.out, "q2", ["0,5", "0"])
    for _ in range(2):
        assert quick()["marks"].tolist() == [3.5, 3]


def test_every_version_that_differs_is_kept_and_a_foreign_table_too(quick):
    quick("ada.ipynb")
    versions = []
    for entry in ("1", "2", "1", "3"):
        versions.append(enter(quick.out, "open1", entry, sep=";"))
        assert quick()["open1"].astype(str).tolist() == [entry]
    versions.append(b"submission;open1\nada.ipynb;2.5\n")
    (quick.out / "marks.csv").write_bytes(versions[-1])
    assert quick()[["marks", "open1"]].to_numpy().tolist() == [[3, 2.5]]
    kept = [path.read_bytes() for path in sorted(quick.out.glob("marks-*.csv"))]
    assert set(versions) <= set(kept) and len(set(kept)) == len(kept)


def test_a_table_under_another_name_is_named(quick):
    quick("ada.ipynb")
    for name in ("marks.xlsx", "marks (conflicted copy).csv"):
        (quick.out / name).write_text("x")
        quick()
        assert any(name in line for line in quick.said)


def test_what_is_not_marked_has_a_row_a_page_and_is_counted(quick, tmp_path):
    (tmp_path / "in" / "gus").mkdir(parents=True)
    table = quick("ada.ipynb", "ben/lab.ipynb.txt")
    states = {"ada.ipynb": "marked", "ben/lab.ipynb.txt": "marked", "gus/": "not marked"}
    assert table["status"].to_dict() == states
    assert "empty" in table.loc["gus/", "remarks"]
    assert "empty" in (quick.out / "feedback" / "gus.md").read_text()
    assert quick.said[-1] == "3 handed in: 2 marked, 1 not marked (gus/)"


def test_the_teacher_can_say_which_lab_it_is(quick, tmp_path):
    path = tmp_path / "in" / "ada.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps(v4.new_notebook(cells=[v4.new_code_cell("x = 1")])))
    assert quick()["status"].tolist() == ["unreadable"]
    table = quick(lab=NAME)
    assert table["status"].tolist() == ["marked"] and table["lab"].tolist() == [NAME]
    assert "taken for" in table.loc["ada.ipynb", "remarks"]


def test_the_name_of_a_competitor_is_of_any_type(monkeypatch, tmp_path):
    class Gives:
        def __init__(self, value):
            self.value = value

        def get(self, name):
            if isinstance(self.value, Exception):
                raise self.value
            return self.value

    for value in ([1], {"a": 1}, object(), TypeError("x"), None, 10**5000, b"x"):
        assert grading._me(Gives(value)) == ""
    assert grading._me(Gives("Ada")) == "Ada" and grading._me(Gives(float("nan"))) == "nan"
    with pytest.raises(grading.Closed):
        grading._me(Gives(grading.Closed("")))
