"""The process in which a submission plays: one careless cell costs that cell."""

import socket
import subprocess
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualdiff.teaching import sandbox
from dualdiff.teaching.protocol import Line, Message

# What a cell does to the interpreter that it shares with the player.
CARELESS = {
    "output closed": "import sys\nsys.stdout.close()",
    "output replaced": "import sys, os\nwith open(os.devnull, 'w') as f:\n    sys.stdout = f",
    "no streams": "import sys\nsys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None",
    "descriptor closed": "import os\nos.close(1)\nos.close(2)",
    "error without words": "class Bad(Exception):\n    def __str__(self): return 3\nraise Bad",
    "error that fails": "class Bad(Exception):\n    def __str__(self): raise Bad\nraise Bad",
    "error of no exception": "class Bad(BaseException): pass\nraise Bad",
    "folder deleted": "import os, tempfile\nd = tempfile.mkdtemp()\nos.chdir(d)\nos.rmdir(d)",
    "print": "print = None",
    "builtins": "import builtins\nbuiltins.len = builtins.open = builtins.isinstance = None",
    "all builtins": "import builtins\nvars(builtins).clear()",
    "json": "import json\njson.dumps = json.loads = json.JSONEncoder.encode = None",
    "signals": "import signal\nsignal.signal = signal.setitimer = None",
    "alarm": "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "path": "import sys\nsys.path.clear()\nsys.meta_path.clear()",
    "path of no list": "import sys\nsys.path = None",
    "modules": "import sys\nfor name in ('json', 'socket', 'signal'): sys.modules[name] = None",
    "recursion": "import sys\nsys.setrecursionlimit(60)",
    "transformers": "def bad(lines): raise ValueError\n"
    "get_ipython().input_transformers_cleanup.append(bad)",
    "process": "import os\nos.getpid = os._exit = os.getcwd = None",
    "trace": "import sys\nsys.settrace(lambda *a: 1 / 0)\nsys.setprofile(lambda *a: None)",
    "warnings": "import warnings\nwarnings.simplefilter('error')",
    "numpy": "import numpy\nnumpy.seterr(all='raise')",
    "torch": "import torch\ntorch.set_default_dtype(torch.float64)",
    "arrays": "import numpy, torch\nnumpy.array = torch.from_numpy = None",
    "warn": "import warnings\nwarnings.warn = warnings.showwarning = lambda *a, **k: None",
    "doctest": "import doctest\ndoctest.testmod()",
    "reset": "%reset -f",
    "shell": "del get_ipython, In, Out",
    "environment": "import os\nos.environ.clear()",
    "hooks": "import sys\nsys.excepthook = sys.displayhook = sys.unraisablehook = None",
    "collector": "import gc\ngc.disable()\ngc.set_threshold(1)",
    "threads": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "exit": "import sys\nsys.exit(3)",
    "syntax": "def f(:",
}
CELLS = [
    "import math\nfirst = math.sqrt(16)",
    "def double(x):\n    return 2 * x",
    "import torch\nthird = torch.ones(2)",
    "import numpy\nfourth = numpy.arange(3)",
]
"""Each defines what is asked for afterwards; a careless cell may stand before any of them."""


class Play:
    """A player without a box, and the other end of its line."""

    def __init__(self, folder: Any) -> None:
        here, there = socket.socketpair()
        here.settimeout(120)
        command = ["-m", "dualdiff.teaching.execution", str(there.fileno()), str(2 * 2**30)]
        self.process = subprocess.Popen(
            sandbox.command(command, confined=False),
            cwd=folder,
            env=sandbox.environment(str(folder)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[there.fileno()],
        )
        there.close()
        self.socket, self.line = here, Line(here, lambda message: None)

    def ask(self, message: Message) -> Any:
        return self.line.ask(message)

    def cells(self, cells: list[str]) -> dict[int, str]:
        said = self.ask({"play": cells, "cell_seconds": 30.0, "call_seconds": 30.0})
        return {int(number): words for number, words in said}

    def check(self) -> None:
        """What the good cells have defined."""
        assert self.ask({"get": "first"}) == 4
        assert self.ask({"get": "double"})(21) == 42
        assert self.ask({"get": "third"}).tolist() == [1, 1]
        assert self.ask({"get": "fourth"}).tolist() == [0, 1, 2]


@pytest.fixture
def play(tmp_path):
    made = []

    def start() -> Play:
        made.append(Play(tmp_path))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.wait()
        one.socket.close()


QUIET = {
    *("arrays", "doctest", "warn", "print", "reset", "warnings"),
    *("numpy", "torch", "collector", "threads", "alarm"),
}
"""Those that a notebook may do to itself, without a word."""
SILENT = {CARELESS[kind] for kind in QUIET}


@pytest.mark.parametrize("kinds", [list(CARELESS)[::2], list(CARELESS)[1::2]], ids=["even", "odd"])
def test_every_careless_cell_costs_itself_alone(play, kinds):
    """One after the other in one process, each followed by what an honest cell does."""
    player = play()
    cells = ["def write(text):\n    import sys\n    sys.stdout.write(text)"]
    for kind in kinds:
        cells += [CARELESS[kind], f"after_{len(cells)} = len([1, 2]) + int('3'); write('on')"]
    said = player.cells(cells + CELLS)
    for number, kind in enumerate(kinds):
        if kind not in QUIET:
            assert 2 * number + 2 in said, kind
        assert 2 * number + 3 not in said, (kind, said)
        assert player.ask({"get": f"after_{2 * number + 1}"}) == 5
    player.check()


PLACED = st.tuples(st.sampled_from(sorted(CARELESS)), st.integers(0, len(CELLS)))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PLACED, min_size=1, max_size=3))
def test_careless_cells_anywhere_leave_the_others_as_they_were(play, careless):
    cells = list(CELLS)
    for kind, place in sorted(careless, key=lambda pair: -pair[1]):
        cells.insert(place, CARELESS[kind])
    player = play()
    said = player.cells(cells)
    for number, cell in enumerate(cells, 1):
        if cell in CELLS:
            assert number not in said
        elif cell not in SILENT:
            assert number in said, cell
    player.check()


FRONT_ENDS = [
    "%matplotlib widget",
    "%matplotlib qt",
    "%load_ext autoreload\n%autoreload 2",
    "%load_ext no_such_extension",
    "%pip install no-such-package",
    "%config InlineBackend.figure_format = 'retina'",
    "%debug",
    "%no_such_magic",
    "answer = input('name?')",
    "get_ipython().run_line_magic(magic_name='matplotlib', line='inline')",
    "get_ipython().run_cell_magic(magic_name='time', line='', cell='inside = 3')",
]


def test_what_asks_for_a_front_end_leaves_the_rest_of_its_cell(play):
    player = play()
    cells = [f"{magic}\nname_{n} = {n}" for n, magic in enumerate(FRONT_ENDS)]
    cells += ["%%time\ntimed = 1", "%%capture\ncaptured = 2", "%%javascript\nalert(1)"]
    player.cells(cells + CELLS)
    for n, magic in enumerate(FRONT_ENDS):
        assert player.ask({"get": f"name_{n}"}) == n, magic
    assert player.ask({"get": "timed"}) == 1 and player.ask({"get": "captured"}) == 2
    player.check()


def test_modules_that_a_notebook_writes_are_imported_and_shadow_none_of_ours(play, tmp_path):
    player = play()
    said = player.cells(
        [
            "%%writefile helper.py\nvalue = 6",
            "import helper\nvalue = helper.value",
            "for name in ('json', 'torch', 'safetensors', 'socket'):\n"
            "    open(name + '.py', 'w').write('raise ValueError(name)')",
            *CELLS,
        ]
    )
    assert said == {}
    assert player.ask({"get": "value"}) == 6
    player.check()
    assert (tmp_path / "helper.py").is_file()


def test_a_process_that_ends_says_so(play):
    player = play()
    with pytest.raises(ConnectionError):
        player.cells(["import os\nos._exit(0)"])
    assert player.process.wait(30) == 0
