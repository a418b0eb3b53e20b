import contextlib
import subprocess
import sys
import time

import pytest
from small_lab import needs_box

from dualdiff.teaching import sandbox
from dualdiff.teaching.sandbox import Limits, Watch


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("seconds", 0.5, 1),
        ("seconds", float("nan"), 1),
        ("memory", 10**6, 2**28),
        ("output", 0, 1000),
    ],
)
def test_a_limit_that_nothing_can_keep_is_refused(name, value, least):
    with pytest.raises(
        ValueError, match=f"{name} must be at least {least} and at most .*, not {value}"
    ):
        Limits(**{name: value})


def test_without_bubblewrap_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match=r"bwrap is not installed.*apt install.*--unconfined"):
        sandbox.check()


@needs_box
def test_where_the_box_does_not_work_the_error_says_why(monkeypatch):
    monkeypatch.setattr(sandbox, "_box", lambda: ["bwrap", "--no-such-option"])
    with pytest.raises(
        RuntimeError, match=r"bwrap does not work here: .*no-such-option.*allow user"
    ):
        sandbox.check()


@needs_box
def test_the_box_works_here():
    sandbox.check()


def started(code: str, limits: Limits) -> Watch:
    """A process under watch, without a box."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    return Watch(process, limits)


def ended(watch: Watch) -> str:
    watch.process.wait(30)
    watch.end()
    watch.process.stdout.close()
    return watch.exceeded


def test_a_process_that_keeps_its_limits_is_left_alone():
    watch = started("print('done')", Limits(seconds=30))
    watch.process.wait(30)
    assert ended(watch) == "" and watch.printed == b"done\n" and watch.process.returncode == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("while True: pass", "it took longer than 1 s"),
        ("x = bytearray(400 * 2**20)\nwhile True: pass", "it took more than 0.25 GiB of memory"),
        ("while True: print('x' * 1000)", "it printed more than 0.5 MiB"),
    ],
    ids=["time", "memory", "output"],
)
def test_what_exceeds_a_limit_is_ended_with_the_reason(code, reason):
    seconds = 1 if "longer" in reason else 30
    watch = started(code, Limits(seconds=seconds, memory=2**28, output=2**19))
    assert ended(watch) == reason
    assert watch.process.returncode == -9
    if "memory" in reason:
        assert watch.peak > 2**28


def test_children_end_with_their_parent():
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(100)"
    )
    watch = started(code, Limits(seconds=2))
    assert ended(watch) == "it took longer than 2 s"
    began = time.time()
    with contextlib.suppress(sandbox.psutil.NoSuchProcess):
        child = sandbox.psutil.Process(int(watch.printed))
        # It was killed, and dies when the system comes to it.
        while child.status() != sandbox.psutil.STATUS_ZOMBIE and child.create_time() < began:
            time.sleep(0.01)
            assert time.time() < began + 30


def test_only_the_last_of_the_output_is_kept():
    watch = started("print('a' * 5000 + 'z')", Limits(seconds=30))
    ended(watch)
    assert len(watch.printed) == 2000 and watch.printed.endswith(b"z\n")


def test_nothing_of_our_environment_goes_into_the_box(monkeypatch):
    monkeypatch.setenv("SECRET", "token")
    variables = sandbox.environment("/tmp", A="1")
    assert "SECRET" not in variables and variables["HOME"] == "/tmp" and variables["A"] == "1"
