"""The composition widget where something goes wrong under it: nothing old is shown as new."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import needs_chromium
from widget_page import nothing_is_presented, said, settled, shown

from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import make_scenario
from dualdiff.experiments.scenes import ring_and_bar
from dualdiff.experiments.store import Store
from dualdiff.widgets.composition import Composition
from dualdiff.widgets.stages import islands, network_stage, plane_stage


@pytest.fixture
def widget() -> Iterator[Composition]:
    stages = {
        "ring_and_bar": plane_stage(ring_and_bar(), "A ring and a bar."),
        "islands": plane_stage(islands(), "Nine islands."),
    }
    found = Composition(stages, points=100)
    yield found
    found.close()


@needs_chromium
def test_a_worker_that_fails_or_is_late_leaves_no_old_number(
    widget: Composition, tmp_path: Path
) -> None:
    with shown(widget, tmp_path) as view:
        settled(view)
        worker = "document.querySelector('.dualdiff').view.worker"
        view.evaluate(f"{worker}.postMessage = () => 0")
        view.evaluate("window.model.set('w_general', 0.5)")
        view.locator(".dualdiff-reason", has_text="Computing").wait_for()
        assert "%" not in said(view)
        # It answers with an error: of this scene, and of these settings, alone.
        view.evaluate(f"delete {worker}.postMessage")
        view.evaluate(f"{worker}.postMessage({{ open: {{ numbers: 1 }}, name: 'ring_and_bar' }})")
        view.evaluate("window.model.set('w_general', 0.6)")
        view.locator(".dualdiff-reason", has_text="Nothing could be sampled").wait_for()
        nothing_is_presented(view, "Nothing could be sampled")
        view.evaluate("window.model.set('scene', 'islands')")
        settled(view)
        assert "%" in said(view)
        # It ends altogether.
        view.evaluate(f"{worker}.onerror({{ message: 'out of memory' }})")
        nothing_is_presented(view, "out of memory")
        view.evaluate("window.model.set('w_general', 1)")
        nothing_is_presented(view, "out of memory")


@needs_chromium
@pytest.mark.parametrize("policy", ["worker-src 'none'", "script-src blob: 'unsafe-inline'"])
def test_a_page_that_forbids_workers_or_webassembly(tmp_path: Path, policy: str) -> None:
    """Without a worker the page says so; without WebAssembly networks run in JavaScript."""
    networks = Networks(
        make_scenario("cabinet"), RECIPES["plain"], PROFILES["smoke"], 0, Store(tmp_path)
    )
    found = Composition({"cabinet": network_stage(networks)}, points=50, steps=5)
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    with shown(found, tmp_path, head=head, quiet=True) as view:
        if policy.startswith("worker"):
            view.locator(".dualdiff-reason", has_text="cannot compute").wait_for()
            nothing_is_presented(view, "cannot compute in the background")
        else:
            settled(view)
            assert "%" in said(view)
