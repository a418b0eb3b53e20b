"""The widget of pictures: the browser draws what torch draws, and weights move it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import needs_chromium
from conftest import generator
from widget_page import overflow, pixels, shown

from dualdiff.experiments.store import Store
from dualdiff.images.data import CLASSES
from dualdiff.images.members import PICTURES, Digits, PictureNetworks, sized
from dualdiff.images.study import SIZES
from dualdiff.networks import MLP
from dualdiff.widgets.base import Refused
from dualdiff.widgets.gallery import Gallery


def network(name: str, width: int = 64) -> MLP:
    """Of the book's recipe, but narrow, and with weights that do something without training."""
    recipe = replace(PICTURES, architecture=replace(PICTURES.architecture, width=width))
    nets = PictureNetworks(Digits(), recipe, sized(SIZES, "smoke"), 0, Store(Path("unused")))
    found = nets._new(name)
    torch.nn.init.normal_(found.head.weight, std=0.05, generator=generator(len(name)))
    return found.eval()


@pytest.fixture
def widget() -> Iterator[Gallery]:
    styles = {"slanted": network("ab"), "bold": network("abc")}
    found = Gallery(network("a"), styles, count=10, steps=20)
    yield found
    found.close()


def drawn(view: Any, widget: Gallery) -> np.ndarray:
    """The pictures in the page at the widget's values, when all of them are there."""
    names = ("digit", "concept", "w_class", "w_style", "seed")
    wanted = json.dumps([getattr(widget, name) for name in names])
    view.wait_for_function(
        """([wanted, n]) => {
          const root = document.querySelector(".dualdiff");
          const same = JSON.stringify(JSON.parse(root.dataset.done ?? "0")) ===
            JSON.stringify(JSON.parse(wanted));
          return same && root.pictures().length === n;
        }""",
        arg=[wanted, widget.count * widget.general.process.dy],
    )
    found = view.evaluate("[...document.querySelector('.dualdiff').pictures()]")
    return np.array(found).reshape(widget.count, -1)


@needs_chromium
def test_the_browser_draws_what_torch_draws(widget: Gallery, tmp_path: Path) -> None:
    with shown(widget, tmp_path) as view:
        for values in (
            {},
            {"w_class": 3.0, "w_style": 0.0},
            {"digit": "7", "concept": "bold", "w_style": 1.5, "seed": 3},
        ):
            for name, value in values.items():
                setattr(widget, name, value)
                view.evaluate("([k, v]) => window.model.set(k, v)", [name, value])
            assert np.abs(drawn(view, widget) - widget.images().numpy()).max() < 2e-3


@needs_chromium
def test_a_weight_that_is_dragged_moves_the_pictures(widget: Gallery, tmp_path: Path) -> None:
    with shown(widget, tmp_path, width=360) as view:
        drawn(view, widget)
        before = pixels(view)
        view.locator("input[type=range]").first.fill("4")
        widget.w_class = 4.0
        drawn(view, widget)
        assert pixels(view) != before and overflow(view) <= 0
        assert view.evaluate("window.model.get('w_class')") == 4
        view.locator("button", has_text="new noise").click()
        widget.seed = 1
        drawn(view, widget)


def test_with_a_class_alone_it_is_guidance_and_with_no_weight_the_untold_network(
    widget: Gallery,
) -> None:
    widget.w_class = widget.w_style = 0.0
    other = widget.digit
    first = widget.images()
    widget.digit = str((int(other) + 1) % CLASSES)
    assert torch.equal(widget.images(), first)
    widget.w_class = 1.0
    assert not torch.equal(widget.images(), first)


def test_the_picture_and_its_words_are_of_the_present_values(widget: Gallery) -> None:
    data, metadata = widget._repr_mimebundle_()
    assert len(data["image/png"]) > 1000 and "digit 3" in metadata["image/png"]["alt"]
    widget.digit = "5"
    assert "digit 5" in widget.describe()
    assert widget._repr_mimebundle_()[0]["image/png"] != data["image/png"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("w_class", 9.0), ("w_style", float("nan")), ("digit", "x"), ("concept", "red"), ("count", 0)],
)
def test_wrong_values_are_refused(widget: Gallery, name: str, value: Any) -> None:
    with pytest.raises(Refused, match=name):
        setattr(widget, name, value)


def test_too_many_weights_and_no_styles_are_refused() -> None:
    with pytest.raises(Refused, match="300,000 weights"):
        Gallery(network("a"), {})
    with pytest.raises(Refused, match="300,000 weights"):
        Gallery(network("a", 256), {"bold": network("b", 256)})
