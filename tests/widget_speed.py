"""How fast the composition widget samples in a browser: ``make bench`` runs it."""

import base64
from typing import Any

import torch
from playwright.sync_api import sync_playwright

from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.scenarios import cabinet
from dualdiff.networks import MLP
from dualdiff.process import spread
from dualdiff.publish.printing import find_chromium
from dualdiff.widgets.bundle import bundle
from dualdiff.widgets.stages import Stage, unconditional
from dualdiff.widgets.wire import wire

SETTINGS = {
    "while dragging, ancestral": (100, 30, True),
    "while dragging, DPM-Solver++": (100, 12, False),
    "at rest, ancestral": (500, 30, True),
}
"""Points, steps and kind of the composition widget's requests."""
_TIMED = """async ([script, scene, numbers, settings, repeats]) => {
  const core = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const bytes = Uint8Array.from(atob(numbers), (letter) => letter.charCodeAt(0));
  const stage = core.openStage({ ...scene, numbers: new DataView(bytes.buffer) });
  const once = (Floats) => {
    const began = performance.now();
    const chain = core.reverse(stage, settings, Floats);
    while (!chain.next().done);
    return performance.now() - began;
  };
  const median = (Floats) => {
    once(Floats); // compiles
    const times = Array.from({ length: repeats }, () => once(Floats)).sort((a, b) => a - b);
    return times[Math.floor(repeats / 2)];
  };
  return [median(Float32Array), median(Float64Array), core.isFast()];
}"""


def browser_times(repeats: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of a request of the widget: two networks of recipe ``tuned``, joint sampling.

    In WebAssembly, single precision, and in plain JavaScript, double precision; medians.

    Raises
    ------
    RuntimeError
        Without Chromium.
    """
    if (chromium := find_chromium()) is None:
        raise RuntimeError("the widget was not timed: that needs Chromium")
    scene, found = _scene(), {}
    numbers = base64.b64encode(scene.pop("numbers")).decode()
    weights = {"general": 1.0, "specialised": 1.0, "unconditional": 0.0}
    common = {"weights": weights, "corrected": False, "seed": 0, "condition": scene["condition"]}
    script = bundle("core.js", exports=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        for name, (points, steps, ancestral) in SETTINGS.items():
            asked = {**common, "points": points, "steps": steps, "ancestral": ancestral}
            fast, plain, _ = page.evaluate(_TIMED, [script, scene, numbers, asked, repeats])
            found[name] = (fast, plain)
        browser.close()
    return found


def _scene() -> dict[str, Any]:
    """The cabinet for the widget, with untrained networks."""
    world, recipe = cabinet(), RECIPES["tuned"]
    generator = torch.Generator().manual_seed(0)
    y, c = world.pairs("general", 1_000, generator)
    process = recipe.process(y, c)
    general, specialised = (
        MLP(process, recipe.architecture, generator, (y - c).mean(0), spread(y - c))
        for _ in range(2)
    )
    members = {
        "general": general,
        "specialised": specialised,
        "unconditional": unconditional(world.general, process, y),
    }
    return wire(Stage("", "", "", members, world.specialised, [], (1.0, 1.0, 1.5)))


def main() -> None:
    """Print the times, or why there are none."""
    print("\ncomposition widget in Chromium, two networks; milliseconds per request")
    try:
        times = browser_times(5)
    except RuntimeError as error:
        print(error)
        return
    print(f"{'':>30} {'WebAssembly':>15} {'JavaScript':>15}")
    for name, (fast, plain) in times.items():
        print(f"{name:>30} {fast:>15.0f} {plain:>15.0f}")


if __name__ == "__main__":
    main()
