"""How long work is shown: amounts, rates, and silence where nobody watches."""

from __future__ import annotations

import pytest
from rich.progress import Progress

from phonybrains.progress import figures, progress_bars


@pytest.mark.parametrize(
    ("unit", "done", "total", "speed", "said"),
    [
        ("images", 12, 95, 3.14, "12/95  3.1 images/s"),
        ("images", 5, 3600, 0.04, "   5/3600  0.04 images/s"),
        ("steps", 200, 200, 41.7, "200/200  42 steps/s"),
        ("steps", 0, 200, None, "  0/200"),
        ("", 3, None, 1.0, "3/?  1/s"),
        ("bytes", 5e8, 23e8, 11e6, "500.0 MB/2.3 GB  11.0 MB/s"),
    ],
)
def test_amount_and_rate_are_told(unit: str, done: float, total: float | None, speed: float | None, said: str):
    """Of each line: how much of how much is done, and the rate in its unit, once there is one."""
    bars = Progress(disable=True)
    bars.add_task("work", total=total, completed=done, unit=unit)  # type: ignore[arg-type]  # bytes are whole anyway
    bars.tasks[0].finished_speed = speed
    assert figures(bars.tasks[0]) == said


@pytest.mark.parametrize(("terminal", "show"), [(True, True), (True, False), (False, True)])
def test_bars_are_for_who_watches(
    terminal: bool, show: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """A terminal sees line, note and time on standard error; a file, a pipe and who asked for silence see nothing."""
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bars(show) as bars:
        bars.add_task("denoiser [1]", total=2, unit="steps", note="loss 0.5")
    out, shown = capfd.readouterr()
    assert out == ""
    assert ("denoiser [1]" in shown and "0/2" in shown and "loss 0.5" in shown) == (terminal and show)
    assert bool(shown) == (terminal and show)
