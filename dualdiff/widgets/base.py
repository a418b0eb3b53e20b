"""What all widgets share: a picture where no script runs, one style, and refusals in words."""

from __future__ import annotations

import base64
import html
import json
import math
import uuid
from collections.abc import Collection
from io import BytesIO
from typing import Any

import anywidget
import matplotlib.pyplot as plt
from IPython.display import display
from ipywidgets.widgets.widget import _remove_buffers
from matplotlib.figure import Figure
from traitlets import TraitError, Unicode, default

from dualdiff.plots import STYLE
from dualdiff.widgets.bundle import FOLDER

VIEW = "application/vnd.jupyter.widget-view+json"


class Refused(TraitError, ValueError):
    """A value that a widget does not take; the message names it and what is allowed."""


def within(name: str, value: float, low: float, high: float) -> float:
    """The value, refused unless ``low <= value <= high`` (so NaN too)."""
    if not (math.isfinite(value) and low <= value <= high):
        raise Refused(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
    return value


def one_of(name: str, value: str, allowed: Collection[str]) -> str:
    """The value, refused unless it is one of the allowed ones."""
    if value not in allowed:
        raise Refused(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


class Pictured:
    """What a widget shows where no script runs; for classes beside a widget's.

    A cell that shows the widget has two outputs, the picture and the view. All programs show the
    first; the view, where it comes to life, hides it (``keepDrawn`` in ``ui.js``). One output of
    both would not do: what makes HTML of notebooks takes the view, which is empty without scripts.
    """

    pictured: Any
    """Which picture a view hides."""

    def picture(self) -> Figure:
        """What the widget shows at its present values, as a figure of the book."""
        raise NotImplementedError

    def describe(self) -> str:
        """The picture in words: its alternative text, and the widget's in a terminal."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        view = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        assert view is not None  # only a widget without a view gives none
        data, metadata = view if isinstance(view, tuple) else (view, {})
        words, shown = self.describe(), BytesIO()
        with plt.style.context(STYLE):
            figure = self.picture()
            figure.savefig(shown, format="png", dpi=100)
        plt.close(figure)  # or a notebook would show it a second time
        png = base64.b64encode(shown.getvalue()).decode()
        data = {**data, "text/plain": words, "image/png": png}
        return data, {**metadata, "image/png": {"alt": words}}

    def _ipython_display_(self) -> None:
        data, metadata = self._repr_mimebundle_()
        view = {VIEW: data.pop(VIEW), "text/plain": data["text/plain"]}
        image = (
            f'<img data-widget="{self.pictured}" alt="{html.escape(data["text/plain"])}" '
            f'style="max-width: 100%" src="data:image/png;base64,{data["image/png"]}">'
        )
        display({**data, "text/html": image}, metadata=metadata, raw=True)
        display(view, raw=True)


class Widget(Pictured, anywidget.AnyWidget):
    """A widget with a static picture beside it.

    Subclasses set ``_esm = bundle("name.js")`` and give :meth:`picture` and :meth:`describe`.
    """

    _css = (FOLDER / "ui.css").read_text(encoding="utf-8")

    pictured = Unicode().tag(sync=True)

    @default("pictured")
    def _pictured(self) -> str:
        return uuid.uuid4().hex

    def alone(self, place: str, **given: Any) -> str:
        """A script that shows the widget, as it is now, in a page's element with the id ``place``.

        For pages without Jupyter; needs nothing else. ``given``: more of what its view reads.
        """
        state = {k: v for k, v in self.get_state().items() if k[0] != "_" and k != "layout"}
        plain, paths, raw = _remove_buffers(state)  # as Jupyter sends them
        texts = [base64.b64encode(bytes(value)).decode() for value in raw]
        parts = {
            "place": place,
            "script": self._esm,
            "style": self._css,
            "state": {**plain, **given},
            "buffers": list(zip(paths, texts, strict=True)),
        }
        text = (FOLDER / "alone.js").read_text(encoding="utf-8")
        return text.replace("GIVEN", json.dumps(parts, sort_keys=True))
