"""The page docs/commands.md, out of the parser: `python -m phonybrains.cli.reference > docs/commands.md`."""

from __future__ import annotations

import re

from .parser import app

HEAD = """# Command reference

What `--help` prints, of all commands. What they are for stands on the pages that they name. `make docs` writes this
page anew.

"""


def reference() -> str:
    """Every command with its arguments and options as Markdown, one heading a command."""
    text = app.generate_docs(heading_level=2, flatten_commands=True)
    text = text[text.index("\n## phonybrains ") + 1 :].replace(" *[default: False]*", "")
    # Of a `python -m NAME` that runs this, cyclopts takes all but the first word for part of a command in a group.
    text = re.sub(r"^(phonybrains [a-z -]+) -m [\w.]+", r"\1", text, flags=re.MULTILINE)
    return HEAD + re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", text).rstrip() + "\n"


if __name__ == "__main__":
    print(reference(), end="")
