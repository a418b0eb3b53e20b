"""One notebook executed in this process, a child of the runner.

``python -m dualdiff.publish.chapter``.

The job comes as a line of JSON on standard input, progress and result go to standard output as
lines of JSON. So chapters cannot disturb one another, and whoever ends the child ends its kernel.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dualdiff.publish import notebooks

INJECTED = "injected-parameters"


def main() -> None:
    """Execute the job on standard input."""
    # What a kernel prints past Jupyter must not get between the lines of the report.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # Unwinding ends the kernel; the default would leave it to notice by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(**words: Any) -> None:
        channel.write(json.dumps(words) + "\n")

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    partial, output = Path(job["partial"]), Path(job["output"])
    for path in (partial, output):
        path.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)  # of an earlier run
    failure = execute(Path(job["notebook"]), job["parameters"], partial, say)
    if failure is not None:
        say(**failure)
        sys.exit(1)
    _tidy(partial)
    os.replace(partial, output)
    say(done=True)


def _end_with_parent() -> None:
    """End this process when the other end of its standard input is closed.

    A runner that is killed cannot end its children, and a cell may take hours.
    """
    while os.read(0, 1):  # not sys.stdin, whose lock a thread must not hold when Python ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def execute(
    notebook: Path, parameters: dict[str, Any], partial: Path, say: Callable[..., None]
) -> dict[str, Any] | None:
    """Execute a notebook into `partial` and return what went wrong, if anything did.

    Parameters
    ----------
    notebook, partial : Path
    parameters : dict
    say : callable
        Called with the numbers ``cell`` and ``cells`` whenever a cell starts.
    """
    node = notebooks.read(notebook)
    total = len(node.cells)
    at: dict[str, Any] = {"cell": 0, "source": ""}

    def on_cell_start(cell: Any, cell_index: int) -> None:
        if INJECTED not in cell.metadata.get("tags", []):  # not a cell of the source
            at.update(cell=at["cell"] + 1, source=cell.source)
        say(cell=at["cell"], cells=total)

    import papermill

    sockets = Path(tempfile.mkdtemp(prefix="dd-", dir=_short_folder()))
    source = sockets / "source.ipynb"
    source.write_text(notebooks.nbformat().v4.writes(node), "utf-8")
    try:
        papermill.execute_notebook(
            _escaped(source),
            _escaped(partial),
            parameters,
            cwd=notebook.parent,
            progress_bar=False,
            **_kernel(sockets),
            on_cell_start=on_cell_start,
            shutdown_kernel="immediate",
        )
    except papermill.PapermillExecutionError as error:
        return {"error": error.ename, "message": error.evalue, **at}
    except Exception as error:  # the kernel died, or the disk is full: the report is the same
        return {"error": type(error).__name__, "message": str(error), **at}
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    return None


def _escaped(path: Path) -> str:
    """Papermill fills in parameters between braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _kernel(sockets: Path) -> dict[str, Any]:
    """Options that choose the kernel and how to talk to it."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets.config import Config

    class ThisInterpreter(AsyncKernelManager):
        # With no folder to search, "python3" is the ipykernel of this very interpreter and not
        # what somebody else installed by that name.
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

    config = Config()
    # Kernels that start at the same time race for free TCP ports, but not for file names, which
    # Windows does not have for sockets.
    if os.name == "posix":
        config.KernelManager.transport = "ipc"
        config.KernelManager.ip = str(sockets / "k")
    return {"kernel_name": "python3", "kernel_manager_class": ThisInterpreter, "config": config}


def _short_folder() -> str:
    # The path of a socket must fit into 104 bytes on macOS.
    folder = tempfile.gettempdir()
    return folder if len(folder) < 70 else "/tmp"


def _tidy(path: Path) -> None:
    """Take out what says where and when it ran, and fold (or hide) the cell that papermill added.

    How long it took stays, as ``dualdiff.seconds`` of the notebook's metadata.
    """
    nbformat = notebooks.nbformat()
    notebook = nbformat.read(path, as_version=4)
    known = notebook.metadata.pop("papermill", {})
    if known.get("duration") is not None:
        notebook.metadata["dualdiff"] = {"seconds": round(known["duration"], 1)}
    tags: list[str] = []
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        before, tags = tags, cell.metadata.get("tags", [])
        if INJECTED in tags:  # no page shows it where it does not show the parameters
            tags.append("remove-cell" if "remove-cell" in before else "hide-input")
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
