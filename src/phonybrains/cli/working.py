"""The options of every command that works: --quiet, --overwrite and --device, written once."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter

from ..replacing import overwriting
from .options import Flag

Command = TypeVar("Command", bound=Callable[..., Any])
EVERYWHERE = Group("Every command that works", sort_key=9)
QUIET = "Print nothing but errors and the result."
OVERWRITE = "Replace what this command made here before with other settings, once that is complete, and named pictures."
DEVICE = "Where the model runs: cpu, cuda, one of several as cuda:1, or mps; a graphics processor if there is one."
Option = inspect.Parameter
OPTIONS: dict[str, tuple[Any, Any]] = {
    "quiet": (Annotated[Flag, Parameter(group=EVERYWHERE, help=QUIET)], False),
    "overwrite": (Annotated[Flag, Parameter(group=EVERYWHERE, help=OVERWRITE)], False),
    "device": (Annotated[str, Parameter(group=EVERYWHERE, help=DEVICE, show_default=False)], ""),
}
"""Their kinds and defaults."""
WRITTEN = ("out", "grid", "report")
"""Options that name what a command writes; all other paths are read."""


def working(*names: str) -> Callable[[Command], Command]:
    """Give a command some of OPTIONS beside its own, and put them in force while it works."""

    def with_options(command: Command) -> Command:
        signature = inspect.signature(command)
        kinds = {name: OPTIONS[name][0] for name in names}
        more = [Option(name, Option.KEYWORD_ONLY, default=OPTIONS[name][1], annotation=kinds[name]) for name in names]

        @wraps(command)
        def run(*args: Any, **kwargs: Any) -> Any:
            given = {name: kwargs.pop(name) for name in names if name in kwargs}
            bound = signature.bind(*args, **kwargs)
            with _in_force(given, bound.arguments):
                return command(*args, **kwargs)

        run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = command.__annotations__ | kinds
        return run  # pyright: ignore[reportReturnType]

    return with_options


@contextmanager
def _in_force(given: dict[str, Any], arguments: dict[str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        if given.get("device"):
            stack.enter_context(_on_device(given["device"]))
        if given.get("overwrite"):
            named = list(_paths(arguments))
            written = [path for name, path in named if name in WRITTEN]
            read = [path for name, path in named if name not in WRITTEN and Path(path).exists()]
            stack.enter_context(overwriting(*written, inputs=read))
        if given.get("quiet"):
            stack.enter_context(_quiet())
        yield


def _paths(arguments: dict[str, Any]) -> Iterator[tuple[str, str | Path]]:
    """Paths, and words that may be some, among the arguments, by the name of their option."""
    for name, value in arguments.items():
        if is_dataclass(value):
            yield from _paths({field.name: getattr(value, field.name) for field in fields(value)})
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, (str, Path)):
                yield name, item


@contextmanager
def _on_device(name: str) -> Iterator[None]:
    from ..model.workers import DEVICE as VARIABLE
    from ..model.workers import chosen_device

    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        chosen_device()
        yield
    finally:
        os.environ.pop(VARIABLE)
        os.environ.update({} if before is None else {VARIABLE: before})


class _Last(io.TextIOBase):
    """Keeps the last of what is printed."""

    text = ""

    def write(self, text: str) -> int:
        self.text = text if text.strip() else self.text
        return len(text)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let nothing through until the end, and then the last that was printed."""
    last = _Last()
    with redirect_stdout(last), redirect_stderr(_Last()):
        yield
    if last.text:
        print(last.text.rstrip("\n"), file=sys.stdout)
