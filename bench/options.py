"""One way to read options: every measurement is an `app` whose help is the docstring of its module."""

from __future__ import annotations

from cyclopts import App, Parameter


def measurement(name: str, doc: str | None) -> App:
    """The command line of a measurement; an option with several values takes all the words that follow it."""
    several = Parameter(consume_multiple=True)
    name = f"python -m bench {name.rpartition('.')[2]}"
    return App(name, help=doc, help_format="plaintext", result_action="return_value", default_parameter=several)
