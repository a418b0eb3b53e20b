"""Write ``js/dense.js``, the compiled ``js/dense.wat``: ``python -m dualdiff.widgets.assemble``.

Needs the package ``wasmtime``, which is installed for the tests.
"""

from __future__ import annotations

import base64
import textwrap

from dualdiff.widgets.bundle import FOLDER


def assembled() -> str:
    """The module that ``dense.js`` has to be."""
    from wasmtime import wat2wasm

    code = base64.b64encode(bytes(wat2wasm((FOLDER / "dense.wat").read_text()))).decode()
    lines = "\n".join(f'  "{line}",' for line in textwrap.wrap(code, 92))
    return (
        "// dense.wat, compiled by dualdiff/widgets/assemble.py; a test compares the two.\n"
        f'export const DENSE_WASM = [\n{lines}\n].join("");\n'
    )


if __name__ == "__main__":
    (FOLDER / "dense.js").write_text(assembled(), encoding="utf-8")
