"""Buttons that need a repository: its own, and those of services that run a page's notebook."""

from __future__ import annotations

import os
from typing import Any

LAUNCH = {
    "binderhub_url": "https://mybinder.org",
    "colab_url": "https://colab.research.google.com",
    "notebook_interface": "jupyterlab",
}
"""Where a reader may run a page's notebook, if it is in a repository that all can see."""


def in_repository(options: dict[str, Any]) -> None:
    """Show the buttons that need a repository, if one is named; options of the theme are changed.

    It is ``repository: {url, branch}`` in ``_config.yml``, or ``DUALDIFF_REPOSITORY``.
    """
    url = os.environ.get("DUALDIFF_REPOSITORY") or options.get("repository_url")
    if url:
        # Colab opens what is on GitHub, and the theme warns of anything else.
        known = {k: v for k, v in LAUNCH.items() if k != "colab_url" or "//github.com/" in url}
        branch = options.get("repository_branch") or "main"
        named = {"repository_url": url, "repository_branch": branch}
        options |= {**named, "use_repository_button": True, "launch_buttons": known}


def withdraw(context: dict[str, Any]) -> None:
    """Leave the services off a page, if they are there; what fills its template is changed."""
    buttons = context.get("header_buttons", [])
    context["header_buttons"] = [one for one in buttons if one.get("label") != "launch-buttons"]


def offer(context: dict[str, Any], options: dict[str, Any], path: str) -> None:
    """Launch on Binder what it makes when it starts, at ``path``; what fills a page's template is
    changed where a repository on GitHub is named."""
    _, github, name = options.get("repository_url", "").partition("//github.com/")
    if github:
        place = f"{name.strip('/')}/{options['repository_branch']}?urlpath=lab/tree/{path}"
        binder = {
            "type": "link",
            "text": "Binder",
            "tooltip": "Launch on Binder",
            "icon": "_static/images/logo_binder.svg",
            "url": f"{LAUNCH['binderhub_url']}/v2/gh/{place}",
        }
        group = {"type": "group", "tooltip": "Launch interactive content", "icon": "fas fa-rocket"}
        context["header_buttons"].append({**group, "label": "launch-buttons", "buttons": [binder]})
