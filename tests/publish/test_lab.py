"""The widgets live in JupyterLab: a slider is moved in the browser, and torch answers."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import launched, needs_chromium

from dualdiff.publish.project import project_root

CELL = """
from dualdiff.experiments.scenes import ring_and_bar
from dualdiff.widgets import Composition
from dualdiff.widgets.stages import plane_stage
playground = Composition({"ring_and_bar": plane_stage(ring_and_bar(), "A test.")}, points=100)
playground
"""
TOKEN = "dualdiff"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running JupyterLab with one notebook in it."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "live.ipynb")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = ["--no-browser", f"--port={port}", f"--IdentityProvider.token={TOKEN}"]
    options += ["--LabApp.news_url=None"]  # it would ask the network, and then the reader
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    own = {name: str(folder / name) for name in ("config", "runtime", "ipython")}
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": own["config"],
        "JUPYTER_RUNTIME_DIR": own["runtime"],
        "IPYTHONDIR": own["ipython"],
    }
    said = (folder / "said.txt").open("w")
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            *options,
            "--allow-root",
            f"--notebook-dir={folder}",
        ],
        stdout=said,
        stderr=said,
        env=environment,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, server, folder / "said.txt")
        yield address
    finally:
        server.terminate()
        server.wait(30)
        said.close()


def _wait_for(address: str, server: "subprocess.Popen[bytes]", said: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        assert server.poll() is None, said.read_text()
        try:
            with urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not start: {said.read_text()}")


@needs_chromium
def test_a_slider_moves_torchs_samples_in_jupyterlab(lab: str) -> None:
    with launched() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(f"{lab}/lab/tree/live.ipynb?token={TOKEN}")
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click(timeout=90_000)
        # A key that comes before the kernel does is lost.
        page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=90_000)
        page.keyboard.press("Control+Enter")
        widget = page.locator(".dualdiff-composition")
        widget.wait_for(timeout=90_000)
        status = widget.locator("[aria-live]")

        def says(text: str) -> None:
            status.filter(has_text=text).wait_for(timeout=60_000)

        says("100 samples in 30 steps")
        assert "torch" not in status.inner_text()
        widget.get_by_role("combobox", name="computed by").select_option("both")
        says("torch:")
        live = "document.querySelector('.dualdiff').view.model.get('torch')"
        before = page.evaluate(f"{live}.settings.w_general")
        page.get_by_role("slider", name="weight, general").focus()
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        page.wait_for_function(f"{live}.settings.w_general < {before} - 0.15", timeout=60_000)
        says("torch:")
        # The same noise in both: torch and the browser agree up to float32.
        apart = page.evaluate(
            """() => {
              const view = document.querySelector(".dualdiff").view;
              const own = view.torch.samples();
              const { states } = view.result;
              const last = states.subarray(states.length - own.length);
              const far = [...own].map((x, i) => Math.abs(x - last[i])).sort((a, b) => a - b);
              return far[Math.floor(0.95 * far.length)];
            }"""
        )
        assert apart < 1e-3
        page.screenshot(path=project_root() / "_build" / "screenshots" / "jupyterlab.png")
