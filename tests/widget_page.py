"""A page that shows one widget in a real browser, without Jupyter and without a network.

The page imports the widget's own script and gives it a model that behaves like anywidget's. On
``window.model``: ``state``, and ``saved``, what was handed to whoever is linked.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import chromium
from ipywidgets.widgets.widget import _remove_buffers

from dualdiff.widgets.base import Widget

_PAGE = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8">
%(head)s<meta name="viewport" content="width=device-width"><title>widget</title>
<style>html[data-theme=dark] body { background: #14181e }</style><style>%(css)s</style>
<body><main id="place"></main><script type="module">
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
class Model {
  saved = []; waiting = {}; heard = new Map();
  constructor(state) { this.state = state; }
  get(name) { return this.state[name]; }
  set(name, value) {
    if (this.state[name] === value) return;
    this.state[name] = value;
    this.waiting[name] = value;
    for (const call of [...(this.heard.get(`change:${name}`) ?? [])]) call(this, value);
    for (const call of [...(this.heard.get("change") ?? [])]) call(this);
  }
  on(event, call) { this.heard.set(event, [...(this.heard.get(event) ?? []), call]); }
  off(event, call) {
    if (!event) { this.heard.clear(); return; }
    this.heard.set(event, (this.heard.get(event) ?? []).filter((c) => call && c !== call));
  }
  listeners() { return [...this.heard.values()].flat().length; }
  save_changes() { this.saved.push(this.waiting); this.waiting = {}; }
  sent = [];
  send(content) { this.sent.push(content); } // and nobody answers, until a test does
  receive(content) { for (const call of this.heard.get("msg:custom") ?? []) call(content); }
}
const state = %(state)s;
for (const [path, text] of %(buffers)s) {
  const last = path.pop();
  path.reduce((inside, name) => inside[name], state)[last] = bytes(text);
}
window.model = new Model(state);
const script = new Blob([%(esm)s], { type: "text/javascript" });
const { default: widget } = await import(URL.createObjectURL(script));
const place = document.getElementById("place");
const context = { model: window.model, el: place, signal: new AbortController().signal };
await widget.initialize?.(context);
window.cleanup = await widget.render(context);
window.ready = true;
</script></body></html>"""


def _script(value: Any) -> str:
    """JSON that cannot end the script that it stands in; keys are sorted as notebooks sort them."""
    return json.dumps(value, sort_keys=True).replace("</", "<\\/")


def write_page(widget: Widget, path: Path, head: str = "") -> Path:
    """Write the page of a widget at its present state; ``head`` goes into its head."""
    state = {key: value for key, value in widget.get_state().items() if not key.startswith("_")}
    state = {key: value for key, value in state.items() if key not in ("layout", "tooltip")}
    plain, paths, raw = _remove_buffers(state)  # as Jupyter sends them
    texts = [base64.b64encode(bytes(value)).decode() for value in raw]
    buffers = list(zip(paths, texts, strict=True))
    parts = {"state": _script(plain), "buffers": _script(buffers), "esm": _script(widget._esm)}
    path.write_text(_PAGE % {**parts, "css": widget._css, "head": head}, encoding="utf-8")
    return path


@contextmanager
def shown(
    widget: Widget,
    folder: Path,
    width: int = 800,
    *,
    head: str = "",
    quiet: bool = False,
    **options: Any,
) -> Iterator[Any]:
    """The page of a widget in Chromium, drawn; fails at the end if anything went wrong on it.

    ``quiet`` allows what the browser itself complains of in the console. ``options`` are those of
    a browser's page, such as ``color_scheme`` or ``has_touch``.
    """
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        view = browser.new_page(viewport={"width": width, "height": 900}, **options)
        view.on("pageerror", lambda error: problems.append(str(error)))
        view.on(
            "console",
            lambda said: (
                problems.append(said.text)
                if said.type in ("error", "warning") and not quiet
                else None
            ),
        )
        view.on("request", lambda asked: _no_network(asked.url, problems))
        view.route("http*://**", lambda route: route.abort())
        view.goto(write_page(widget, folder / "page.html", head).as_uri())
        view.wait_for_function("window.ready", timeout=10_000)
        frames(view)
        yield view
        browser.close()
    assert not problems, problems


def _no_network(address: str, problems: list[str]) -> None:
    if address.startswith("http"):
        problems.append(f"asked for {address}")


def frames(view: Any) -> None:
    """Wait until what was asked for is drawn."""
    view.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>"
        " requestAnimationFrame(done))))"
    )


def pixels(view: Any, selector: str = "canvas") -> str:
    """What a canvas shows, to compare: its picture as an address."""
    frames(view)
    picture: str = view.evaluate(f"document.querySelector({selector!r}).toDataURL()")
    return picture


def state(view: Any, name: str) -> Any:
    """A trait of the model in the page."""
    return view.evaluate(f"window.model.get({name!r})")


def saves(view: Any) -> list[dict[str, Any]]:
    """What was handed on by ``save_changes``, in order."""
    found: list[dict[str, Any]] = view.evaluate("window.model.saved")
    return found


def theme(view: Any, name: str) -> None:
    """Switch the page to ``light`` or ``dark``, as the book's button does."""
    view.evaluate(f"document.documentElement.dataset.theme = {name!r}")
    frames(view)


def overflow(view: Any) -> int:
    """By how many pixels the page is wider than its window."""
    wide: int = view.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wide


def settled(view: Any) -> None:
    """Wait until a composition widget has all samples at its present settings."""
    view.wait_for_function(
        """() => {
          const view = document.querySelector(".dualdiff").view;
          return !view.sent && !view.next && view.result?.fine;
        }""",
        timeout=60_000,
    )
    frames(view)


def said(view: Any) -> str:
    """What a composition widget reads out: its numbers, or why there are none."""
    frames(view)
    found: str = view.locator(".dualdiff [aria-live]").inner_text()
    return found


def nothing_is_presented(view: Any, why: str) -> None:
    """The reason stands where the numbers stood; old samples, if any, are marked as such."""
    assert why in said(view)
    assert "%" not in said(view) and not view.locator(".dualdiff-score").count()
    assert state(view, "scores") == {}
    stale = view.evaluate(
        "document.querySelector('.dualdiff').classList.contains('dualdiff-stale')"
    )
    assert stale == view.evaluate("Boolean(document.querySelector('.dualdiff').view.result)")
    panels = ".dualdiff-panels canvas:not(.dualdiff-pad *)"
    labels = [canvas.get_attribute("aria-label") for canvas in view.locator(panels).all()]
    assert all(why in label for label in labels)
