"""Runs a measurement by its name."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path


def titles() -> dict[str, str]:
    """The first line of each measurement's docstring; a module without an `app` is a part of others."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        text = path.read_text(encoding="utf-8")
        if "\napp = measurement(" in text:
            found[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


def main(words: list[str]) -> None:
    if words and words[0] in titles():
        importlib.import_module(f"bench.{words[0]}").app(words[1:])
        return
    print("python -m bench NAME [OPTIONS]; each takes --help. NAME is one of")
    print("\n".join(f"  {name:20} {title}" for name, title in titles().items()))
    sys.exit(0 if words in ([], ["--help"]) else f"There is no measurement called {words[0]}.")


if __name__ == "__main__":
    main(sys.argv[1:])
