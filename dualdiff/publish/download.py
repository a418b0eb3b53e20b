"""A notebook's page gives the notebook, from a web server and from a folder of files.

The theme's button leads to the copy of the source that Sphinx keeps. A browser shows that copy as
text if the book is opened from disk, where it lets no page say that a link is a download. So the
page carries its notebook, and the button saves it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

IDENTITY = "notebook-source"
LABEL = "download-source-button"  # of the theme
# No double quotes: it stands in an attribute.
_SAVE = (
    "(function () {{"
    "const text = document.getElementById('{identity}').textContent;"
    "const link = document.createElement('a');"
    # In an attribute the bare name is the address of the document.
    "const data = new Blob([text], {{type: 'application/x-ipynb+json'}});"
    "link.href = window.URL.createObjectURL(data);"
    "link.download = '{name}';"
    "link.click();"
    "}})()"
)


def offer(context: dict[str, Any], notebook: Path, identity: str = IDENTITY) -> bool:
    """Put a notebook into its page and let the theme's button save it; whether there is a button.

    Parameters
    ----------
    context : dict
        What Sphinx fills the page's template with; changed in place.
    notebook : Path
        The source, as it is in the project.
    identity : str
        Where the page has it, for other links that save it.
    """
    groups = [group.get("buttons", []) for group in context.get("header_buttons", [])]
    found = [button for group in groups for button in group if button.get("label") == LABEL]
    for button in found:
        button.pop("url", None)
        button["type"] = "javascript"
        button["javascript"] = _SAVE.format(identity=identity, name=notebook.name)
        button["tooltip"] = "Download the notebook, without outputs"
    if found:
        carry(context, notebook, identity)
    return bool(found)


def carry(context: dict[str, Any], notebook: Path, identity: str) -> None:
    """Put a notebook into a page, where scripts find it by this identity.

    ``book.js`` saves it when a link with ``data-notebook="identity"`` is clicked.
    """
    # A slash may be escaped in JSON, and must be where it would end the element.
    text = notebook.read_text("utf-8").replace("</", r"<\/")
    context["body"] += (
        f'\n<script type="application/x-ipynb+json" id="{identity}">{text}</script>\n'
    )
