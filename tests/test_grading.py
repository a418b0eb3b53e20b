"""A folder of submissions becomes a table, whatever is in the folder."""

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
from small_lab import built, load, needs_box, with_cell

from dualdiff import arena, confine, grading
from dualdiff.cli import main
from dualdiff.confine import Limits
from dualdiff.grading import grade, labs_of

NAME = "lab0_small"


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
    grade(folder, out, labs_of(lab), Limits(seconds=60), quiet=True)
    return folder, out


def rows(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "marks.csv", index_col="submission", keep_default_na=False)


@needs_box
def test_the_table_has_a_row_for_each_and_a_column_for_each_question(graded):
    table = rows(graded[1])
    names = [
        "'=cleo.ipynb",
        "ada/lab.ipynb",
        "ben/lab.ipynb",
        "dan.ipynb",
        "eve.ipynb",
        "fay.ipynb",
    ]
    assert sorted(table.index) == names
    assert list(table.columns[-3:]) == ["q1", "q2", "open1"]
    assert table["marks"].to_dict() == dict(zip(names, [2, 4, 0, 0, 0, 0], strict=True))
    assert table["of"].to_dict() == dict(zip(names, [4, 4, 4, 4, 0, 0], strict=True))
    words = ["marked", "marked", "marked", "stopped", "unreadable", "unreadable"]
    assert table["status"].to_dict() == dict(zip(names, words, strict=True))
    assert table.loc["ada/lab.ipynb", ["q1", "q2", "open1"]].tolist() == ["3", "1", ""]
    assert table.loc["'=cleo.ipynb", ["q1", "q2"]].tolist() == ["1", "1"]
    assert table.loc["eve.ipynb", ["q1", "q2"]].tolist() == ["", ""]


@needs_box
def test_every_reason_can_be_read(graded):
    remarks = rows(graded[1])["remarks"]
    assert remarks["ada/lab.ipynb"] == ""
    assert "its process ended" in remarks["dan.ipynb"] and "in cell 1" in remarks["dan.ipynb"]
    assert "names nothing as its lab, not one of lab0_small" in remarks["eve.ipynb"]
    assert "the file is not a notebook (JSONDecodeError" in remarks["fay.ipynb"]


@needs_box
def test_each_author_gets_a_page(graded):
    pages = {path.stem: path.read_text() for path in (graded[1] / "feedback").iterdir()}
    assert set(pages) == {"ada__lab", "ben__lab", "=cleo", "dan", "eve", "fay"}
    assert "lab0_small: **4 of 4 points**" in pages["ada__lab"]
    assert "## q1: 1 of 3" in pages["=cleo"] and "It works on tensors" in pages["=cleo"]
    assert "Its tests were not run." in pages["dan"]


@needs_box
def test_answers_in_words_stand_side_by_side(graded):
    text = (graded[1] / "open_answers.md").read_text()
    assert "## lab0_small, open1" in text and "> Nobody *knows*." in text
    assert text.index("### ada/lab.ipynb") < text.index("### ben/lab.ipynb")


@needs_box
def test_a_second_call_marks_only_what_is_new_or_was_not_completed(graded, lab, monkeypatch):
    folder, out = graded
    before = rows(out)
    played = []
    mark = grading.mark
    spy = lambda result, *rest, **more: (played.append(result.file), mark(result, *rest, **more))  # noqa: E731
    monkeypatch.setattr(grading, "mark", spy)
    (folder / "gus.ipynb").write_text(json.dumps(load(lab / "student" / f"{NAME}.ipynb")))
    (folder / "hal.ipynb").write_text((folder / "ada" / "lab.ipynb").read_text())
    (out / "marks.csv").unlink()
    grade(folder, out, labs_of(lab), Limits(seconds=60), quiet=True)
    assert sorted(played) == ["dan.ipynb", "gus.ipynb"]
    after = rows(out)
    same = ["marks", "of", "status", "remarks", "q1", "q2"]
    assert after.loc[before.index, same].equals(before[same])
    assert after.loc["hal.ipynb", "marks"] == 4  # the same file as another's is the same result
    for name in ("gus.ipynb", "hal.ipynb"):
        (folder / name).unlink()


@needs_box
def test_what_the_marker_entered_is_kept_and_a_foreign_table_too(graded, lab, tmp_path):
    folder, out = graded[0], tmp_path / "out"
    shutil.copytree(graded[1], out)
    grade(folder, out, labs_of(lab), Limits(seconds=60), quiet=True)
    before = pd.read_csv(out / "marks.csv", dtype=str, keep_default_na=False)
    before.loc[before["submission"] == "ben/lab.ipynb", "open1"] = "1.5"
    before.to_csv(out / "marks.csv", index=False)
    grade(folder, out, labs_of(lab), Limits(seconds=60), quiet=True)
    assert rows(out)["open1"].to_dict() == dict.fromkeys(before["submission"], "") | {
        "ben/lab.ipynb": "1.5"
    }
    foreign = "submission;open1\nben/lab.ipynb;1.5\n"
    (out / "marks.csv").write_text(foreign)
    grade(folder, out, labs_of(lab), Limits(seconds=60), quiet=True)
    assert (out / "marks-before.csv").read_text() == foreign
    assert rows(out).loc["ada/lab.ipynb", "marks"] == 4


@needs_box
def test_a_damaged_result_is_made_anew(graded, lab):
    folder, out = graded
    for path in (out / ".done").iterdir():
        path.write_text(path.read_text()[:50])
    grade(folder, out, labs_of(lab), Limits(seconds=60), quiet=True)
    assert rows(out).loc["ada/lab.ipynb", "marks"] == 4


@needs_box
def test_the_marks_do_not_depend_on_how_many_play_at_a_time(graded, lab, tmp_path):
    folder, out = graded
    grade(folder, tmp_path, labs_of(lab), Limits(seconds=60), jobs=1, quiet=True)
    measured = ["seconds", "memory_mib"]
    assert rows(tmp_path).drop(columns=measured).equals(rows(out).drop(columns=measured))


@needs_box
def test_a_competition_makes_a_leaderboard_and_a_failure_in_it_is_said(graded, lab, tmp_path):
    folder, _ = graded

    def compete(names):
        share = min(1.0, float(names.get("twice")(lambda x: x / 2)(1.0)))
        shares = dict.fromkeys(arena.SHARES, 0.0) | {"success": share, "error": 0.01}
        name = {1.0: "=top", 0.25: "me"}[share]
        return shares | {"rows": 90, "tasks": 10, "game": "a game", "name": name}

    chosen = {"competitions": {NAME: compete}, "quiet": True}
    grade(folder, tmp_path, labs_of(lab), Limits(seconds=60), **chosen)
    board = pd.read_csv(tmp_path / "leaderboard.csv")
    found = board[["place", "name", "success"]].to_numpy().tolist()
    assert found == [[1, "'=top", 1.0], [2, "ada__lab", 0.25]]
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


def test_a_leaderboard_without_a_competitor_is_not_written(graded):
    assert not (graded[1] / "leaderboard.csv").exists()


def test_what_goes_wrong_in_marking_one_does_not_stop_the_others(lab, tmp_path, monkeypatch):
    folder = hand_in(tmp_path / "in", lab)
    mark = grading.mark

    def fails(result, *rest, **more):
        if result.file == "ada/lab.ipynb":
            raise ZeroDivisionError("seven")
        mark(result, *rest, **more)

    monkeypatch.setattr(grading, "mark", fails)
    limits = Limits(seconds=60)
    grade(folder, tmp_path / "out", labs_of(lab), limits, confined=False, quiet=True)
    table = rows(tmp_path / "out")
    assert table.loc["ada/lab.ipynb", "status"] == "stopped"
    assert table.loc["ada/lab.ipynb", "remarks"] == (
        "it could not be marked: ZeroDivisionError: seven"
    )
    assert table.loc["ben/lab.ipynb", "status"] == "marked"


def test_only_files_are_submissions(tmp_path):
    (tmp_path / "a.ipynb").mkdir()
    os.mkfifo(tmp_path / "b.ipynb")  # reading it would never end
    with pytest.raises(ValueError, match="there is no notebook"):
        submissions(tmp_path)


@needs_box
def test_an_interruption_ends_all_boxes_and_keeps_what_is_marked(lab, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    solved = load(lab / "solutions" / f"{NAME}.ipynb")
    (folder / "a.ipynb").write_text(json.dumps(solved))
    (folder / "b.ipynb").write_text(json.dumps(with_cell(solved, "while True: pass")))
    start = "import sys; from dualdiff.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, "grade", str(folder), "--labs", str(lab)]
    process = subprocess.Popen([*command, "--jobs", "1"], stderr=subprocess.PIPE, text=True)
    done = tmp_path / "in-marks" / ".done"
    while not list(done.glob("*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    boxes = []
    while not boxes:  # the second submission is at work
        boxes = confine.psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "1 of 2 are marked; start it again to go on" in said
    _, alive = confine.psutil.wait_procs(boxes, timeout=30)
    assert not alive


def test_only_notebooks_count_and_hidden_folders_do_not(lab, tmp_path):
    hand_in(tmp_path / "in", lab)
    names = [path.relative_to(tmp_path / "in").as_posix() for path in submissions(tmp_path / "in")]
    assert names == sorted(names) and len(names) == 6
    assert not any("checkpoint" in name for name in names)


def test_bad_input_is_refused_in_a_sentence(lab, tmp_path, capsys):
    assert main(["grade", str(tmp_path / "nowhere")]) == 2
    assert "which is not a folder" in capsys.readouterr().err
    assert main(["grade", str(tmp_path)]) == 2
    assert "there is no notebook (.ipynb) in" in capsys.readouterr().err
    (tmp_path / "a.ipynb").write_text("{}")
    given = ["grade", str(tmp_path), "--labs", str(lab)]
    for more, words in {
        ("--jobs", "0"): "jobs must be at least 1, not 0",
        ("--size", "tiny"): "size must be one of full, smoke, not 'tiny'",
        ("--seconds", "0"): "seconds must be at least 1, not 0",
        ("--memory", "0.1"): "memory must be at least",
        ("--labs", str(tmp_path)): "holds no labs",
    }.items():
        assert main([*given, *more]) == 2
        assert words in capsys.readouterr().err


def test_a_lab_knows_its_points(lab):
    (only,) = labs_of(lab).values()
    assert only.points == {"q1": 3, "q2": 1} and "def test_tensor" in only.tests["q1"]
