"""Runs a measurement by its name."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path


def _titles() -> dict[str, str]:
    """The first line of each measurement's docstring; a module without a main block is a part of others."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        text = path.read_text(encoding="utf-8")
        if '\nif __name__ == "__main__":' in text:
            found[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


if __name__ == "__main__":
    titles = _titles()
    if sys.argv[1:2] and sys.argv[1] in titles:
        name = sys.argv.pop(1)
        runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=True)
    else:
        print("python -m bench NAME [OPTIONS]; each takes --help. NAME is one of")
        print("\n".join(f"  {name:20} {title}" for name, title in titles.items()))
        sys.exit(0 if sys.argv[1:] in ([], ["--help"]) else f"There is no measurement called {sys.argv[1]}.")
