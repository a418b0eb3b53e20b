"""The picture of the first page: what the sum of two exact models samples, as the laws part.

``python -m dualdiff.plots.welcome`` writes the panels anew. They are SVG without words and on no
ground of their own, so that they stand on a light page and on a dark one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dualdiff.experiments.shifted import GENERAL_RADIUS, RADIUS, overlap_fraction, shifted_table
from dualdiff.experiments.study import exact_configurations
from dualdiff.plots import COLOURS, LABELS
from dualdiff.randomness import stream
from dualdiff.readings.overlap import places
from dualdiff.samplers import sample

DISTANCES = {"inside": 1.0, "partly": 2.7, "apart": 5.0}
"""Distance of the centres of the two discs in each panel, radii 3 and 1."""
FOLDER = Path(__file__).resolve().parents[2] / "book" / "assets"
DRAWS, SHOWN = 2_000, 400
WIDTH, HEIGHT = 9.3, 6.3  # of a panel in units of y: one scale for all three


class Panel(NamedTuple):
    """A panel: distance of the centres, joint samples, and where these are.

    ``shares`` are those of :func:`dualdiff.readings.overlap.places`; ``overlap`` is the share
    of the specialised disc inside the general one.
    """

    distance: float
    samples: Tensor
    shares: dict[str, float]
    overlap: float


def panels(seed: int = 0) -> dict[str, Panel]:
    """Samples ``[n, 2]`` of the plain sum of exact members at one condition, from above."""
    found = {}
    for name, distance in DISTANCES.items():
        world = shifted_table(distance)
        both = exact_configurations(world)["joint"]
        y = sample(both, torch.zeros(1, 3), stream(seed, "welcome", name), draws=DRAWS)[0]
        row = places({name: y}, {name: world}).loc[name]
        shares = {str(place): float(row[place]) for place in row.index if place != "way"}
        found[name] = Panel(distance, y[:, :2], shares, overlap_fraction(distance))
    return found


def svg(panel: Panel) -> str:
    """A panel as a file: the general disc dashed, the specialised one solid, samples as dots."""
    middle = (panel.distance + RADIUS - GENERAL_RADIUS) / 2 if panel.distance > 2 else 0.0
    box = f"{middle - WIDTH / 2:.2f} {-HEIGHT / 2:.2f} {WIDTH} {HEIGHT}"
    general, specialised, joint = (COLOURS[n] for n in ("general", "specialised", "joint"))
    dots = "\n".join(
        f'<circle cx="{x:.2f}" cy="{-y:.2f}" r="0.055"/>' for x, y in panel.samples[:SHOWN].tolist()
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">
<title>{LABELS["general"]}, {LABELS["specialised"]}, {LABELS["joint"]}</title>
<circle id="general" cx="0" cy="0" r="{GENERAL_RADIUS:g}" fill="{general}" fill-opacity="0.16" \
stroke="{general}" stroke-width="0.09" stroke-dasharray="0.3 0.2"/>
<circle id="specialised" cx="{panel.distance:g}" cy="0" r="{RADIUS:g}" fill="{specialised}" \
fill-opacity="0.2" stroke="{specialised}" stroke-width="0.09"/>
<g id="joint" fill="{joint}" fill-opacity="0.8">
{dots}
</g>
</svg>
"""


def write(folder: Path = FOLDER) -> list[Path]:
    """Write the panels, ``welcome-NAME.svg``, and return their paths."""
    paths = []
    for name, panel in panels().items():
        paths.append(folder / f"welcome-{name}.svg")
        paths[-1].write_text(svg(panel), encoding="utf-8")
    return paths


if __name__ == "__main__":
    print(*write(), sep="\n")
