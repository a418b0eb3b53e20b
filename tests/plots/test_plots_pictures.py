"""A gallery draws every pixel of every picture once, in its row."""

import numpy as np
import pytest
import torch

from dualdiff.plots.pictures import gallery

pytestmark = pytest.mark.usefixtures("drawing")


def test_every_pixel_is_drawn_in_its_place() -> None:
    source = torch.Generator().manual_seed(0)
    rows = {name: 2 * torch.rand(3, 16, generator=source) - 1 for name in ("one", "two")}
    figure = gallery(rows, side=4)
    assert [axes.get_yticklabels()[0].get_text() for axes in figure.axes] == [*rows]
    for axes, images in zip(figure.axes, rows.values(), strict=True):
        (shown,) = axes.get_images()
        strip = np.asarray(shown.get_array().filled(np.nan))
        assert strip.shape == (4, 14)
        for k, image in enumerate(images):
            np.testing.assert_array_equal(strip[:, 5 * k : 5 * k + 4], image.view(4, 4).numpy())
        assert np.isnan(strip[:, 4]).all() and np.isnan(strip[:, 9]).all()


def test_refusals() -> None:
    for rows in ({}, {"one": torch.zeros(3, 64), "two": torch.zeros(2, 64)}):
        with pytest.raises(ValueError, match="rows must be several and as long as one another"):
            gallery(rows)
