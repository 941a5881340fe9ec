"""One training run: its draft folder, its log, and what it shows while it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from rich.progress import Progress, TaskID

from ..files import sync_path, write_whole
from ..progress import progress_bars
from ..record import Record, draft_folder
from .config import LoopConfig
from .loop import Milestone, Task, fit
from .processes import Training, accelerating, same_threads, shared_draft

LOG_NAME = "training/log.jsonl"
Inspect = Callable[[Path], dict[str, float]]
"""inspect(sheet) draws a sheet into this file and returns figures for the log."""


@dataclass
class Run:
    """One training run: where it works, on what, and how it tells."""

    draft: Path
    accelerator: Accelerator
    seed: int
    bars: Progress
    threads: int = 0
    show: bool = True

    @property
    def work(self) -> Path:
        return self.draft / "work"

    def note(self, what: str, steps: Iterator[int], unit: str, total: int | None = None) -> None:
        """Have the main process go through steps, which say how much is done, and all others wait for it."""
        if self.accelerator.is_main_process:
            line = self.bars.add_task(what, total=total, unit=unit)
            for done in steps:
                self.bars.update(line, completed=done)
        self.accelerator.wait_for_everyone()

    def follow(self, task: Task, loop: LoopConfig, inspect: Inspect, compile: bool = False) -> None:
        """Train a task, showing and logging how far it is; at each validation `inspect` draws and measures."""
        line = self.bars.add_task(task.name, total=loop.steps, unit="steps")
        begun, main = False, self.accelerator.is_main_process
        shown = partial(self._show_step, line)
        for passed in fit(task, loop, self.seed, self.work, self.accelerator, compile, shown):
            self.bars.update(line, completed=passed.step, note=f"loss {passed.loss:.4f}")
            if not begun and main:
                _forget(self.draft / LOG_NAME, task.name, passed.step)
            begun = True
            sheet = self.draft / "training" / f"{task.name}-{passed.step:07d}.png"
            self._log(passed, inspect(sheet) if passed.validation is not None and main else {})
            if sheet.is_file():
                self._say(f"{passed}, sheet {sheet}")
        self.bars.update(line, completed=loop.steps)

    def _show_step(self, line: TaskID, step: int) -> None:
        self.bars.update(line, completed=step)

    def _say(self, text: str) -> None:
        """A line above the bars, and where there are none, as in a log."""
        if self.show:
            self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _log(self, passed: Milestone, figures: Mapping[str, float]) -> None:
        values = {f"{passed.task}/loss": passed.loss}
        values |= {f"{passed.task}/{name}": value for name, value in figures.items()}
        if passed.validation is not None:
            values[f"{passed.task}/validation"] = passed.validation
        self.accelerator.log(values, step=passed.step)
        if self.accelerator.is_main_process:
            with (self.draft / LOG_NAME).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": passed.step, **values}) + "\n")
            sync_path(self.draft / LOG_NAME)  # before the checkpoint that goes on after it


@contextmanager
def running(config: Training, out: Path, record: Record, seed: int, show: bool) -> Iterator[Run]:
    """A run of this process in the draft of `out`, which the main process then publishes."""
    with accelerating(config, draft_folder(out, record)) as accelerator:
        main = accelerator.is_main_process
        with shared_draft(out, record, accelerator) as draft, progress_bars(show and main) as bars:
            run = Run(draft, accelerator, seed, bars, show=show and main)
            for folder in (run.work, draft / "training"):
                folder.mkdir(exist_ok=True)
            accelerator.init_trackers("tensorboard")
            with same_threads(draft) as run.threads:
                yield run
            for tracker in accelerator.trackers:
                tracker.finish()
            if main:
                _name_events(draft / "training" / "tensorboard")


def _forget(log: Path, task: str, step: int) -> None:
    """Remove what a run that was stopped had logged of a task from a step on, and a line it did not finish."""
    if log.is_file():
        lines = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]
        entries = [json.loads(line) for line in lines]
        kept = [line for line, e in zip(lines, entries, strict=True) if f"{task}/loss" not in e or e["step"] < step]
        write_whole(log, "".join(kept).encode())


def sort_log(draft: Path, tasks: Sequence[str]) -> None:
    """Put the log in the order of tasks and steps, also where one of them had to begin anew after the next."""
    log = draft / LOG_NAME
    if log.is_file():
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        entries = [json.loads(line) for line in lines]
        places = [([f"{task}/loss" in entry for task in tasks].index(True), entry["step"]) for entry in entries]
        write_whole(log, "".join(line for _, line in sorted(zip(places, lines, strict=True))).encode())


def _name_events(folder: Path) -> None:
    """Give TensorBoard's files names without that of this machine."""
    for number, path in enumerate(sorted(folder.glob("events.out.tfevents.*"))):
        path.rename(folder / f"events.out.tfevents.{number:04d}")
