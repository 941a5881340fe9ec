"""The command line's parser: each command is loaded when it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from cyclopts import App, ArgumentCollection, CycloptsError

from .commands import COMMANDS, FLAGS, HELP


def _version() -> str:
    from .. import __version__

    return f"phonybrains {__version__}"


def _refuse_empty_paths(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise CycloptsError for a path of no letters, as of a shell's variable that is not set: it would be `.`."""
    for argument in arguments:
        is_path = Path in (argument.hint, *get_args(argument.hint))
        if is_path and any(token.value == "" for token in argument.tokens):
            raise CycloptsError(msg=f"{argument.name} is empty: it takes a path.")


settings: dict[str, Any] = {"suppress_keyboard_interrupt": False, "result_action": "return_value"}
app = App("phonybrains", HELP, version=_version, help_format="plaintext", config=_refuse_empty_paths, **settings)
for place, command in enumerate(COMMANDS):
    app.command(f"phonybrains.cli.{command.home}", name=command.name, sort_key=place)
app.register_install_completion_command(help=FLAGS["--install-completion"])
