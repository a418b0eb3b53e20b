"""Submissions that do their work, and those that do everything else."""

import json
import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from small_lab import built, load, needs_box, with_cell

from dualdiff.teaching import marking, sandbox
from dualdiff.teaching.marking import mark
from dualdiff.teaching.protocol import Closed, Silent
from dualdiff.teaching.reading import lab_of, notebook_in
from dualdiff.teaching.sandbox import Limits
from dualdiff.teaching.submission import Marked, archived_tests, plain

LAB = "lab0_small"
SHORT = Limits(seconds=60)
LAST = 7  # the number of a cell of code that is added at the end


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """What is made of the small lab."""
    return built(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def solved(lab):
    return load(lab / "solutions" / f"{LAB}.ipynb")


def marked(notebook, lab, tmp_path, limits=SHORT, tests=None, **more) -> Marked:
    """The result of a notebook, as a file that is read and marked."""
    path = tmp_path / "submission.ipynb"
    path.write_text(json.dumps(notebook))
    result = Marked(path.name, LAB)
    tests = tests or archived_tests(lab / "autograder" / f"{LAB}.zip")
    mark(result, notebook_in(path.read_bytes()), tests, limits, size="smoke", **more)
    return result


def marks(result: Marked) -> dict[str, float]:
    return {question: result.marks(question) for question in result.questions}


@needs_box
def test_the_solution_gets_all_and_the_untouched_copy_nothing(lab, solved, tmp_path):
    assert marks(marked(solved, lab, tmp_path, confined=False)) == {"q1": 3, "q2": 1}
    sized = marked(with_cell(solved, "raise ValueError(size())"), lab, tmp_path)
    assert sized.remarks == [f"cell {LAST} of the code: ValueError: smoke"]
    full = marked(solved, lab, tmp_path)
    assert full.complete and full.remarks == [] and marks(full) == {"q1": 3, "q2": 1}
    assert full.memory > 50 * 2**20 and full.seconds > 0
    student = load(lab / "student" / f"{LAB}.ipynb")
    assert lab_of(student) == LAB
    nothing = marked(student, lab, tmp_path)
    assert nothing.complete and marks(nothing) == {"q1": 0, "q2": 0}


@needs_box
def test_a_wrong_answer_loses_its_own_points_and_says_why(lab, solved, tmp_path):
    wrong = with_cell(solved, "def twice(f):\n    return lambda x: f(x) + f(x) - x")
    result = marked(wrong, lab, tmp_path)
    assert marks(result) == {"q1": 1, "q2": 1}
    (failed,) = [test for test in result.questions["q1"] if not test.passed]
    assert failed.hidden and failed.hint.startswith("It works on tensors")
    assert failed.reason.startswith("AssertionError")


# A second attempt, where a busy machine needs one, has less time to share among the cells.
STOPPED = r"stopped after [\d.]+ s"

# What an honest student gets wrong, and what only looks strange: the rest of the notebook counts.
HONEST = {
    "while True:\n    pass": STOPPED,
    "while True:\n  try:\n    while True: pass\n  except Exception: pass": STOPPED,
    "import sys\nsys.exit(3)": r"SystemExit: 3",
    "def f(:": r"SyntaxError: .*",
    "1 / 0": r"ZeroDivisionError: division by zero",
    "import torch\ntorch.zeros(10**10)": r"RuntimeError: .*can't allocate memory.*",
    "input()": "it asked for input and got an empty line",
    "with open('big', 'wb') as file:\n    file.write(bytes(300 * 2**20))": r".*No space left.*",
    "quit()": None,
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()": None,
    "from ipywidgets import interact\ninteract(lambda x: x, x=(0, 3));": None,
    "import asyncio\nawait asyncio.sleep(0)": None,
    "!echo hello": None,
}


@needs_box
def test_a_cell_that_fails_leaves_the_rest_as_it_was(lab, solved, tmp_path, monkeypatch):
    limits = Limits(seconds=180)
    monkeypatch.setattr(marking, "CELL_SHARE", 6 / limits.seconds)
    notebook = solved
    for code in HONEST:
        notebook = with_cell(notebook, code)
    result = marked(notebook, lab, tmp_path, limits)
    assert result.complete and marks(result) == {"q1": 3, "q2": 1}
    said = dict(remark.split(" of the code: ", 1) for remark in result.remarks)
    for number, (code, remark) in enumerate(HONEST.items(), LAST):
        found = said.pop(f"cell {number}", None)
        assert (found is None) == (remark is None), (code, found)
        assert remark is None or re.fullmatch(remark, found), (code, found)
    assert not said


@needs_box
def test_a_function_that_hangs_loses_its_own_tests(lab, solved, tmp_path, monkeypatch):
    monkeypatch.setattr(marking, "CALL_SHARE", 4 / SHORT.seconds)
    result = marked(with_cell(solved, "def twice(f):\n    while True: pass"), lab, tmp_path)
    assert result.complete and marks(result) == {"q1": 0, "q2": 1}
    assert result.questions["q1"][0].reason == "TimeoutError: stopped after 4 s"


@needs_box
def test_a_deleted_cell_is_named_and_the_last_cell_decides_what_a_name_is(lab, solved, tmp_path):
    notebook = with_cell(solved, "seven = object()")
    notebook["cells"] = [c for c in notebook["cells"] if "def twice" not in "".join(c["source"])]
    result = marked(notebook, lab, tmp_path)
    assert marks(result) == {"q1": 0, "q2": 0}
    assert result.remarks == ["q1: twice is not defined"]
    assert "a object cannot be handed" in result.questions["q2"][0].reason


# What exceeds a limit or ends its process: it is stopped, with the reason and the place.
HOSTILE = {
    "endless output": ("while True:\n    print('x' * 10**5)", "it printed more than 1 MiB"),
    "output of a child": ("!yes", "it printed more than 1 MiB"),
    "memory of children": (
        "import subprocess, sys, time\n"
        "code = 'x = bytearray(400 * 2**20); import time; time.sleep(60)'\n"
        "for _ in range(5): subprocess.Popen([sys.executable, '-c', code])\ntime.sleep(60)",
        "it took more than 1 GiB of memory",
    ),
    "many processes": (
        "import subprocess, time\n"
        "for _ in range(200): subprocess.Popen(['sleep', '60'])\ntime.sleep(60)",
        "it started more than 32 processes",
    ),
    "an end without a word": ("import os\nos._exit(0)", "its process ended"),
    "a crash": ("import ctypes\nctypes.string_at(0)", "its process ended"),
    "killing itself": ("import os\nos.kill(os.getpid(), 9)", "its process ended"),
    "speaking for the player": (
        "import os\nfor number in range(3, 30):\n    try:\n        os.write(number, b'x' * 10**4)\n"
        "    except OSError:\n        pass",
        "its process ended",
    ),
    "no end that it knows": (
        "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True:\n    pass",
        "it did not answer any more",
    ),
    "work outside Python": ("sum(range(10**13))", "it did not answer any more"),
}


@needs_box
@pytest.mark.parametrize(("code", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_what_ends_its_process_is_left_out_and_said(
    lab, solved, tmp_path, monkeypatch, code, reason
):
    monkeypatch.setattr(marking, "CELL_SHARE", 5 / 120)
    limits = Limits(seconds=120, memory=2**30, output=2**20)
    result = marked(with_cell(solved, code), lab, tmp_path, limits)
    assert result.complete and marks(result) == {"q1": 3, "q2": 1}
    (remark,) = result.remarks
    assert remark.startswith(f"cell {LAST} of the code: left out, because {reason}")


class Clocked:
    """A player on a clock of its own: cells end their process, or never answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.wait = 0.0, 0.0
        monkeypatch.setattr(marking.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(marking, "_playing", self.playing)
        monkeypatch.setattr(marking, "Line", self.line)

    @contextmanager
    def playing(self, limits, *_):
        self.now += 1  # until it has started
        deadline = self.now + limits.seconds
        yield (
            SimpleNamespace(settimeout=lambda wait: setattr(self, "wait", wait)),
            (watch := SimpleNamespace(exceeded="", peak=0, printed=b"", late=False)),
        )
        watch.late = self.now > deadline

    def line(self, connection, answer):
        def ask(message):
            for number, source in enumerate(message["play"], 1):
                answer({"cell": number})
                if source == "hangs":
                    self.now += self.wait
                    raise Silent("it did not answer any more")
                if source == "ends":
                    raise Closed
            return []

        return SimpleNamespace(ask=ask)


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_cells_that_do_not_answer_leave_time_for_the_others(monkeypatch, cells):
    """Each takes a share of what is left, not of the whole."""
    clock, result = Clocked(monkeypatch), Marked("a.ipynb", LAB)
    notebook = {"cells": [{"cell_type": "code", "source": "hangs"}] * cells}
    mark(result, notebook, {}, Limits(seconds=600))
    assert result.complete and len(result.remarks) == cells
    assert clock.now < 600


def test_all_attempts_together_keep_the_limit(monkeypatch):
    """Every cell ends the process: however many there are, time is what it was."""
    clock, result = Clocked(monkeypatch), Marked("a.ipynb", LAB)
    notebook = {"cells": [{"cell_type": "code", "source": "ends"}] * 30}
    mark(result, notebook, {}, Limits(seconds=12))
    assert not result.complete and clock.now <= 12 + 1
    assert any("left out, because its process ended" in remark for remark in result.remarks)


@needs_box
@pytest.mark.parametrize("times", [1, 2])
def test_a_player_that_came_to_no_cell_is_tried_once_more(
    lab, solved, tmp_path, monkeypatch, times
):
    command, calls = sandbox.command, []

    def fails(arguments, *, confined):
        calls.append(arguments)
        return ["false"] if len(calls) <= times else command(arguments, confined=confined)

    monkeypatch.setattr(sandbox, "command", fails)
    result = marked(solved, lab, tmp_path)
    assert len(calls) == 2
    assert result.complete == (times == 1)
    assert marks(result) == ({"q1": 3, "q2": 1} if times == 1 else {})
    assert bool(result.remarks) == (times == 2)


@needs_box
def test_what_was_marked_before_the_end_counts(lab, solved, tmp_path):
    code = "import os\ndef seven():\n    os._exit(1)"
    ends = with_cell(solved, code)
    tests = archived_tests(lab / "autograder" / f"{LAB}.zip")
    tests["q2"] = tests["q2"].replace("assert seven == 7", "assert seven() == 7")
    result = marked(ends, lab, tmp_path, tests=tests)
    assert marks(result) == {"q1": 3, "q2": 0}
    assert any(remark.startswith("q2: its process ended") for remark in result.remarks)


SPY = """
import os, socket
found = []
labs = CHECKOUT + '/notebooks/labs'
archives = BUILT + '/autograder'
for folder in ('/', '/tmp', '/root', '/home', CHECKOUT, labs, BUILT, archives):
    try:
        found += [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError:
        pass
secret = [name for name in found if LAB in name or name.endswith('.zip')]
for path in (f'{archives}/{LAB}.zip', f'{labs}/{LAB}.ipynb', '/etc/passwd'):
    if os.path.exists(path):
        secret.append(path)
processes = [name for name in os.listdir('/proc') if name.isdigit()]
mapped = [open(f'/proc/{p}/maps').read() for p in processes if p != '1']
secret += [line for text in mapped for line in text.splitlines() if LAB in line]
in_memory = __import__('gc').get_objects()
secret += [o for o in in_memory if isinstance(o, str) and 'def test_' + 'tensor' in o]
try:
    socket.create_connection(('127.0.0.1', PORT), timeout=2)
    secret.append('network')
except OSError:
    pass
for path in ('/usr/written', os.path.dirname(os.__file__) + '/written', CHECKOUT + '/written'):
    try:
        open(path, 'w').close()
        secret.append(path)
    except OSError:
        pass
seven = {'secret': secret, 'processes': processes, 'found': found}
seven['environment'] = sorted(os.environ)
"""


@needs_box
def test_a_spy_finds_no_tests_no_network_and_no_other_process(lab, solved, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        names = {"CHECKOUT": str(lab.parent), "BUILT": str(lab), "LAB": LAB}
        names["PORT"] = server.getsockname()[1]
        code = "\n".join(f"{name} = {value!r}" for name, value in names.items()) + SPY
        seen = {}
        look = {"compete": lambda names: seen.update(names.get("seven")) or {}}
        result = marked(with_cell(solved, code), lab, tmp_path, **look)
    assert result.complete and result.remarks == []
    assert seen["secret"] == []
    assert len(seen["processes"]) <= 3  # the box's first process, the player, and none of ours
    assert "/usr" in seen["found"]
    assert not any(name.startswith("PYTEST") for name in seen["environment"])


@needs_box
def test_outside_the_box_the_spy_would_find_them(lab, solved, tmp_path):
    """The last test can fail: without a box it does."""
    code = f"import os\nseven = 7 * (os.path.exists({str(lab)!r}))"
    assert marks(marked(with_cell(solved, code), lab, tmp_path, confined=False))["q2"] == 1
    assert marks(marked(with_cell(solved, code), lab, tmp_path))["q2"] == 0


@needs_box
def test_a_box_keeps_nothing_of_the_one_before(lab, solved, tmp_path):
    code = "import os\nseven = 7 * (not os.path.exists('/tmp/left'))\nopen('/tmp/left', 'w')"
    for _ in range(2):
        assert marks(marked(with_cell(solved, code), lab, tmp_path))["q2"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb", "a b"), ("\x1b[31mred", "[31mred"), ("x" * 400, "x" * 300 + " ..."), (3, "3")],
)
def test_what_a_submission_says_is_one_plain_line(text, expected):
    assert plain(text) == expected
