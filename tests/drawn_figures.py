"""Runs as a kernel starts: writes down what is to be known of every figure that a chapter shows."""

import json
import math
import os
import re
from typing import Any

from IPython.core import pylabtools

_print_figure = pylabtools.print_figure


def _beside(axes: Any, other: Any, name: str) -> bool:
    """Whether the other one stands in the same row (y) or column (x), so that its label serves."""
    here, there = axes.get_subplotspec(), other.get_subplotspec()
    if here is None or there is None:
        return False
    span = "rowspan" if name == "y" else "colspan"
    return bool(getattr(here, span) == getattr(there, span))


def _facts(figure: Any) -> dict[str, Any]:
    import matplotlib
    from matplotlib.colors import to_hex, to_rgb

    # Lines in order, such as timesteps, may take the steps of a map of colours.
    maps = [matplotlib.colormaps[name].resampled(256) for name in ("viridis", "cividis")]
    steps = [scale(n)[:3] for scale in maps for n in range(256)]
    figure.canvas.draw()
    unnamed, colours, beyond = [], set(), 0.0
    whole = figure.bbox
    shared = {"x": figure.get_supxlabel(), "y": figure.get_supylabel()}
    for axes in figure.axes:
        box = axes.get_tightbbox()
        if box is not None:
            over = max(whole.x0 - box.x0, box.x1 - whole.x1, whole.y0 - box.y0, box.y1 - whole.y1)
            beyond = max(beyond, over / whole.width)
        if not axes.axison or not axes.get_visible() or not axes.has_data():
            continue
        for name in ("x", "y"):
            side = getattr(axes, f"{name}axis")
            group = [axes, *(other for other in figure.axes if _beside(axes, other, name))]
            words = [each.get_text().replace("mathdefault", "") for each in side.get_ticklabels()]
            worded = any(re.search("[a-zA-Z]{2}", word) for word in words)  # the ticks are names
            named = any(getattr(each, f"get_{name}label")() for each in group)
            if len(words) and not (named or worded or shared[name] or not any(words)):
                unnamed.append([axes.get_title(loc="left") or axes.get_title(), name])
        for line in axes.lines:
            colour = line.get_color()
            if colour is None or max(to_rgb(colour)) - min(to_rgb(colour)) < 0.1:
                continue  # no line, or ink
            if min(map(math.dist, steps, [to_rgb(colour)] * len(steps))) > 0.01:
                colours.add(to_hex(colour))
    return {"unnamed": unnamed, "colours": sorted(colours), "beyond": beyond}


def print_figure(figure: Any, *arguments: Any, **more: Any) -> Any:
    found = _facts(figure)
    with open(os.environ["DRAWN_FIGURES"], "a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")
    return _print_figure(figure, *arguments, **more)


if "DRAWN_FIGURES" in os.environ:
    pylabtools.print_figure = print_figure
