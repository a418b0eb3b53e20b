"""A figure with controls, for notebooks in which students draw with functions of their own."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipywidgets import VBox, Widget


def explore(draw: Callable[..., object], **controls: Widget) -> VBox:
    """Controls over the figure that a function draws with their values.

    The figure is a value of a widget and not the output of a cell, as it would be with
    ``ipywidgets.interact``: so it looks the same in every front end, and a notebook that runs
    without one does not wait for a front end's answer.

    Parameters
    ----------
    draw : callable
        Makes a figure with ``matplotlib.pyplot`` and does not show it. It gets the values of the
        controls under their names.
    **controls : ipywidgets widgets
        With a ``value``. One without a description gets its name.

    Returns
    -------
    VBox
        To be displayed: the last expression of a cell.

    Raises
    ------
    Exception
        Whatever `draw` raises at first. Later errors are shown in the place of the figure.
    """
    from ipywidgets import HTML, HBox, Image, Layout, VBox

    picture = Image(format="png", layout=Layout(max_width="100%", height="auto"))
    picture.value, picture.width = _png(draw, controls)
    words = HTML()

    def change(_: object) -> None:
        try:
            picture.value, picture.width = _png(draw, controls)
            words.value = ""
        except Exception as error:  # the student's own: a callback would hide it
            words.value = f"<b>{escape(type(error).__name__)}</b>: {escape(str(error))}"

    for name, control in controls.items():
        control.description = control.description or name
        control.style.description_width = "initial"
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
        control.observe(change, "value")
    row = HBox(list(controls.values()), layout=Layout(flex_flow="row wrap"))
    # Without this the picture would be stretched to the width of the page.
    return VBox([row, words, picture], layout=Layout(align_items="flex-start"))


def _png(draw: Callable[..., object], controls: dict[str, Any]) -> tuple[bytes, str]:
    """The figure, and its width on the page in pixels: half of its own, for sharp screens."""
    import matplotlib.pyplot as plt

    known = set(plt.get_fignums())
    try:
        draw(**{name: control.value for name, control in controls.items()})
        if set(plt.get_fignums()) <= known:
            name = getattr(draw, "__name__", "the function")
            raise ValueError(f"{name} should make a figure, and leave it to others to show it")
        buffer = BytesIO()
        figure = plt.gcf()
        figure.savefig(buffer, format="png", dpi=180)
        return buffer.getvalue(), str(round(90 * figure.get_figwidth()))
    finally:
        for number in set(plt.get_fignums()) - known:
            plt.close(number)
