"""The book: a Sphinx extension that shows every notebook executed, and the command that builds it.

``dualdiff book`` and ``jupyter-book build .`` by hand go the same way: ``_config.yml`` enables this
module as an extension, which executes what has no executed notebook yet and hands Sphinx the
executed notebooks in place of the sources. ``dualdiff_pages`` in ``_config.yml`` describes pages
that are variants of a notebook; the environment variables ``DUALDIFF_PROFILE`` and
``DUALDIFF_JOBS`` set the profile and how many chapters run at a time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualdiff.experiments.profiles import PARAMETERS
from dualdiff.publish import (
    download,
    exercises,
    front,
    launch,
    printing,
    runner,
    slides,
    timing,
)
from dualdiff.publish.children import Page
from dualdiff.publish.declared import variants
from dualdiff.publish.variants import write_variants
from dualdiff.teaching import labs

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment

# Sphinx runs in a child, without the four seconds that `notebooks.nbformat` explains.
_JUPYTER_BOOK = (
    "import sys; sys.modules['rfc3987_syntax'] = None; "
    "from jupyter_book.cli.main import main; main(prog_name='jupyter-book')"
)


LABS = "book/labs"  # the page that offers the labs; below it one of each


class BookError(RuntimeError):
    """Jupyter Book reported an error or a warning."""


def build(
    root: Path, profile: str = "quick", jobs: int | None = None, *, verbose: bool = False
) -> Path:
    """Execute what has to be, then build the HTML book with warnings as errors.

    Parameters
    ----------
    root : Path
        The project: the folder of ``_config.yml``.
    profile : str
    jobs : int, optional
        How many chapters run at a time.
    verbose : bool
        Show what Sphinx says; otherwise only if it fails.

    Returns
    -------
    Path
        Of the book's first page.

    Raises
    ------
    ValueError
        If a parameter is not allowed.
    ChapterError
        If a chapter fails.
    BookError
        If Sphinx fails or warns.
    """
    executed = _execute(root, profile, jobs)
    stamp, state = root / "_build" / "book.sha256", _state(root, executed.values())
    # Sphinx keeps parts of pages that did not change (their menus, their warnings), so a book is
    # built as a whole unless it is the one that is there.
    fresh = not stamp.exists() or stamp.read_bytes() != state.encode()
    stamp.unlink(missing_ok=True)
    environment = {"DUALDIFF_PROFILE": profile, "DUALDIFF_JOBS": str(jobs or "")}
    options = ["--all"] * fresh + ["--quiet"] * (not verbose)
    _jupyter_book(root, options, environment, verbose)
    stamp.write_text(state)
    return root / "_build" / "html" / "index.html"


def build_print(
    root: Path, profile: str = "quick", jobs: int | None = None, *, verbose: bool = False
) -> tuple[Path, Path]:
    """Execute what has to be, then write the book as one HTML page and as a PDF.

    Parameters
    ----------
    root, profile, jobs, verbose
        As in :func:`build`.

    Returns
    -------
    (Path, Path)
        The page and the PDF, in ``_build/print``.

    Raises
    ------
    ValueError, ChapterError, BookError
        As in :func:`build`.
    PrintError
        If no PDF can be made; the page is there then.
    """
    _execute(root, profile, jobs)
    folder = root / "_build" / "print"
    shutil.rmtree(folder, ignore_errors=True)
    environment = {"DUALDIFF_PROFILE": profile, "DUALDIFF_JOBS": str(jobs or "")}
    # Into a folder of its own: what Sphinx keeps of the pages is not what the HTML book needs.
    options = ["--builder", printing.BUILDER, "--path-output", str(folder)]
    _jupyter_book(root, [*options, *["--quiet"] * (not verbose)], environment, verbose)
    shutil.move(folder / "_build" / printing.BUILDER, folder / "html")
    shutil.rmtree(folder / "_build")
    page = printing.at_root(folder / "html", _first(root))
    return page, printing.to_pdf(page, folder / "dualdiff.pdf")


def _first(root: Path) -> str:
    """The document that the contents begin with."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    return next(iter(parse_toc_yaml(root / "_toc.yml")))


def _execute(root: Path, profile: str, jobs: int | None) -> dict[str, Path]:
    """Write the variants and execute what has no executed notebook yet."""
    PARAMETERS["profile"].check(profile)
    list(labs.build(root, root / "_build" / "labs"))  # first, as it says what is not installed
    entries = variants(root)
    write_variants(root, entries)
    return runner.run_all(book_pages(root, entries, profile), root=root, jobs=jobs)


def _jupyter_book(
    root: Path, options: list[str], environment: dict[str, str], verbose: bool
) -> None:
    command = [sys.executable, "-c", _JUPYTER_BOOK, "build", str(root), "-W", "-n", "--keep-going"]
    print("book: building the pages", file=sys.stderr, flush=True)
    result = subprocess.run(
        [*command, *options],
        env=os.environ | environment,
        stdout=None if verbose else subprocess.PIPE,
        stderr=None if verbose else subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if result.returncode:
        shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)
        raise BookError(f"{result.stdout or ''}\nThe book was not built: see above.")


def _state(root: Path, executed: Any) -> str:
    """A digest of all that the HTML is made from."""
    digest = hashlib.sha256("\n".join(sorted(map(str, executed))).encode())
    sources = [root / "_config.yml", root / "_toc.yml", Path(__file__)]
    folders = [root / "book", root / "notebooks" / "labs"]
    sources += sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    for path in sources:
        digest.update(f"\n{path.relative_to(root) if path.is_relative_to(root) else path}".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def book_pages(root: Path, entries: dict[str, Any], profile: str) -> list[Page]:
    """The notebooks among the documents of ``_toc.yml``, in reading order."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    pages = []
    for name in parse_toc_yaml(root / "_toc.yml"):
        notebook = root / f"{name}.ipynb"
        if not notebook.is_file():
            continue
        entry = entries.get(name, {})
        # A variant has its values in its own file.
        own = {} if entry.get("source") else entry.get("parameters", {})
        known = runner.parameters_of(notebook)
        sizes = {"profile": profile, "quiet": True}
        pages.append(Page(name, notebook, {k: v for k, v in sizes.items() if k in known} | own))
    return pages


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_config_value("dualdiff_pages", {}, "env")
    # Before sphinx_external_toc (priority 900) looks for the files that the contents name.
    app.connect("config-inited", _on_config, priority=500)
    app.connect("builder-inited", _on_builder)
    app.connect("env-get-outdated", _on_outdated)
    app.connect("source-read", _on_source)
    app.connect("html-page-context", _on_page, priority=900)  # after the theme made its buttons
    app.connect("build-finished", _on_finished)
    app.connect("env-purge-doc", _on_purge)
    app.connect("env-merge-info", _on_merge)
    front.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}


def _on_config(app: Sphinx, config: Config) -> None:
    from sphinx.errors import ConfigError

    # Jupyter Book wires up live code from a content network, twice, which no page here uses and
    # which leaves an error on every page.
    for listener in list(app.events.listeners.get("env-before-read-docs", [])):
        if getattr(listener.handler, "__name__", "") == "init_thebe_core":
            app.disconnect(listener.id)
    launch.in_repository(config.html_theme_options)
    try:
        write_variants(Path(app.srcdir), config.dualdiff_pages)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _on_builder(app: Sphinx) -> None:
    from sphinx.errors import SphinxError

    root = Path(app.srcdir)
    if app.builder.name != printing.BUILDER:
        # Another book than the command's may come out of this: see `build`.
        (root / "_build" / "book.sha256").unlink(missing_ok=True)
    profile, jobs = os.environ.get("DUALDIFF_PROFILE", "quick"), os.environ.get("DUALDIFF_JOBS")
    try:
        pages = book_pages(root, app.config.dualdiff_pages, profile)
        executed = runner.run_all(pages, root=root, jobs=int(jobs) if jobs else None)
        list(labs.build(root, root / "_build" / "labs"))
    except (ValueError, RuntimeError) as error:
        raise SphinxError(str(error)) from error
    app.dualdiff_executed = executed  # type: ignore[attr-defined]
    app.dualdiff_profile = profile  # type: ignore[attr-defined]


def _shown(env: BuildEnvironment) -> dict[str, str]:
    """Which executed notebook each page was last read from; kept between builds."""
    if not hasattr(env, "dualdiff_shown"):
        env.dualdiff_shown = {}  # type: ignore[attr-defined]
    shown: dict[str, str] = env.dualdiff_shown  # type: ignore[attr-defined]
    return shown


def _on_outdated(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    executed: dict[str, Path] = app.dualdiff_executed  # type: ignore[attr-defined]
    shown = _shown(env)
    changed = [name for name, path in executed.items() if shown.get(name) != path.name]
    read = {timing.PAGE, exercises.PAGE} & env.found_docs  # they are made from all of them
    return [*changed, *sorted(read) * bool(changed)]


def _on_source(app: Sphinx, docname: str, content: list[str]) -> None:
    path = app.dualdiff_executed.get(docname)  # type: ignore[attr-defined]
    if path is not None:
        content[0] = path.read_text("utf-8")
        if app.builder.name == printing.BUILDER:
            content[0] = printing.static(content[0])
        _shown(app.env)[docname] = path.name
    elif docname == timing.PAGE:
        executed, profile = app.dualdiff_executed, app.dualdiff_profile  # type: ignore[attr-defined]
        content[0] = timing.filled(content[0], executed, profile)
    elif copy := _student_copies(app).get(docname):
        app.env.note_dependency(str(copy))
        content[0] += f"\n\n{labs.text(copy)}"
    elif docname == exercises.PAGE:
        content[0] = exercises.filled(content[0], app.dualdiff_executed)  # type: ignore[attr-defined]


def _on_page(app: Sphinx, name: str, _: str, context: dict[str, Any], __: object) -> None:
    pages: dict[str, Path] = app.dualdiff_executed  # type: ignore[attr-defined]
    copies = _student_copies(app)
    if app.builder.name == printing.BUILDER:
        return
    if app.config.dualdiff_pages.get(name, {}).get("source"):
        launch.withdraw(context)  # it is written here, and in no repository
    if name in pages:
        download.offer(context, Path(app.srcdir) / f"{name}.ipynb")
    elif name in copies:
        download.offer(context, copies[name], copies[name].stem)
        made = copies[name].relative_to(app.srcdir).as_posix()
        launch.offer(context, app.config.html_theme_options, made)
    elif name == LABS:
        for copy in copies.values():
            download.carry(context, copy, copy.stem)


def _student_copies(app: Sphinx) -> dict[str, Path]:
    """The page of each lab, and what students get of it."""
    folder = Path(app.srcdir) / "_build" / "labs" / "student"
    known = labs.sources(Path(app.srcdir))
    return {f"{LABS}/{name}": folder / path.name for name, path in known.items()}


def _on_finished(app: Sphinx, exception: Exception | None) -> None:
    """Put the students' notebooks and slides where their pages link them."""
    if exception is None and app.builder.name == "html":
        folder = Path(app.outdir) / "labs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for copy in _student_copies(app).values():
            shutil.copy(copy, folder)
        for name, path in app.dualdiff_executed.items():  # type: ignore[attr-defined]
            if slides.has_slides(path):
                slides.write(path, name, Path(app.srcdir), Path(app.outdir))


def _on_purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    _shown(env).pop(docname, None)


def _on_merge(
    app: Sphinx, env: BuildEnvironment, docnames: list[str], other: BuildEnvironment
) -> None:
    _shown(env).update({name: _shown(other)[name] for name in docnames if name in _shown(other)})
