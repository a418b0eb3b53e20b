"""The first page's live picture, and what the head and the foot of every page say."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt

from dualdiff.plots import STYLE
from dualdiff.publish import project
from dualdiff.widgets import Composition, stages

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

PLACE = "two-discs"
"""Id of the element of the first page that the live picture takes."""
SCRIPT, CARD = "two-discs.js", "card.png"
PLACES: list[Any] = [["inside", [0.0, 0.0]], ["half-way", [0.5, 0.0]], ["outside", [1.3, 0.0]]]
LONGEST = 300
"""Characters of a page's description."""


def two_discs() -> Composition:
    """The widget of the first page: a general and a specialised disc, exact scores."""
    stage = stages.plane_stage(stages.discs(), "", (-1.2, 2.3), (-1.2, 1.2))
    return Composition({"discs": stage})


def write(folder: Path) -> None:
    """Write the script of the live picture, and the picture that is shown with links to a page."""
    folder.mkdir(parents=True, exist_ok=True)
    widget = two_discs()
    (folder / SCRIPT).write_text(widget.alone(PLACE, compact=PLACES), "utf-8")
    widget.shift = PLACES[1][1]
    with plt.style.context(STYLE):
        figure = widget.picture()
        figure.set_size_inches(12, 6.3)
        figure.savefig(folder / CARD, dpi=100)
    plt.close(figure)
    widget.close()


def setup(app: Sphinx) -> None:
    """Connect to Sphinx; called by :mod:`dualdiff.publish.book`."""
    app.connect("config-inited", _on_config, priority=400)
    app.connect("html-page-context", _on_page)


def _on_config(app: Sphinx, config: Config) -> None:
    folder = Path(app.doctreedir) / "front"
    write(folder)
    config.html_static_path.append(str(folder))
    stamp = project.build_stamp()
    name = config.html_title or config.project
    commit, *changes = stamp["revision"].split(" ", 1)
    revision = " ".join([commit[:12], *changes])
    words = f"{name} {stamp['version']}, {revision}, built on {stamp['date']}."
    licence = "Text, figures and code: MIT licence."
    config.html_theme_options["extra_footer"] = f"<p>{html.escape(words)} {licence}</p>"


def _on_page(app: Sphinx, name: str, _: str, context: dict[str, Any], doctree: Any) -> None:
    if app.builder.name != "html" or doctree is None:
        return
    if name == app.config.root_doc:
        app.add_js_file(SCRIPT, loading_method="defer")
    title = html.unescape(context.get("title", app.config.project))
    address = context["pathto"](f"_static/{CARD}", 1)
    if app.config.html_baseurl:
        address = f"{app.config.html_baseurl.rstrip('/')}/_static/{CARD}"
    tags = {
        "og:type": "article",
        "og:site_name": app.config.html_title or app.config.project,
        "og:title": title,
        "og:description": _beginning(doctree),
        "og:image": address,
        "og:image:alt": "Two discs, and samples of a sum of two models where they meet.",
    }
    tags |= {"description": tags["og:description"]}
    written = [
        f'<meta {"property" if ":" in key else "name"}="{key}" content="{html.escape(text)}">'
        for key, text in tags.items()
    ]
    context["metatags"] = "\n".join([context.get("metatags", ""), *written])


def _beginning(doctree: Any) -> str:
    """The first paragraph of a page that is text, not longer than a description may be."""
    from docutils import nodes  # type: ignore[import-untyped]

    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and len(text) > 40:
            cut = text.rfind(" ", 0, LONGEST)
            return text if len(text) <= LONGEST else f"{text[:cut]} ..."
    return ""
