"""The one way to show long work: a line each, with a bar, how much of it is done, the rate and the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded when it is needed: it is a fifth of the quick start
    from rich.progress import Progress, Task


def progress_bars(show: bool = True, *, vanish: bool = False) -> Progress:
    """Bars on standard error; `add_task` begins a line, `update` and `advance` move it on.

    A line has two fields more: `unit`, what it counts ("images", "bytes"), and `note`, which stands behind all else.
    Nothing is shown without `show`, nor where standard error is no terminal. vanish: clear all away at the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class DoneColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(figures(task), style="progress.download")

    class NoteColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields.get("note", ""))

    console = Console(stderr=True)
    watched = show and (console.is_terminal or console.is_jupyter)
    what, left = TextColumn("{task.description}", markup=False), TimeRemainingColumn(elapsed_when_finished=True)
    return Progress(
        what, BarColumn(), DoneColumn(), left, NoteColumn(), console=console, disable=not watched, transient=vanish
    )


def figures(task: Task) -> str:
    """How much of a line is done, of how much, and how fast: "12/95  3.1 images/s", "0.5 GB/2.3 GB  11.0 MB/s"."""
    from rich.filesize import decimal

    unit, speed = task.fields.get("unit", ""), task.finished_speed or task.speed
    written = decimal if unit == "bytes" else str
    total = "?" if task.total is None else written(int(task.total))
    done = f"{written(int(task.completed)):>{len(total)}}/{total}"
    if not speed:
        return done
    if unit == "bytes":
        return f"{done}  {decimal(int(speed))}/s"
    rate = f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"
    return f"{done}  {rate} {unit}".rstrip() + "/s"
