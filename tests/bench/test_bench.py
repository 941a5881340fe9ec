"""The speed benchmarks run, compare what they say they compare, and measure what they say they measure."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import Tensor, nn

from bench import generate, networks, peers, timing, train
from bench.__main__ import titles
from phonybrains.imageset import read_metadata, read_png, write_metadata, write_png


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the tables in a text, by their first cell."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return {f"{row[0]}, {row[1]}": row for row in cells}


@pytest.mark.parametrize("name", titles())
def test_every_measurement_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]):
    """--help has the command, what is measured, and at least one option."""
    importlib.import_module(f"bench.{name}").app(["--help"])
    text = capsys.readouterr().out
    assert f"Usage: python -m bench {name}" in text
    assert titles()[name][:50] in text
    assert "--" in text.replace("--help", "").replace("--version", "")


def test_generation_is_compared_with_the_peers(capsys: pytest.CaptureFixture[str]):
    """The table has our model once for each number of steps, each peer with its own steps, and ratios to ours."""
    generate.app(["--smoke", "--engines", "torch"])
    text = capsys.readouterr().out
    table = rows(text)
    assert table["phonybrains heads, 1"][-2:] == ["1×", table["phonybrains heads, 1"][-1]]
    assert table["phonybrains heads, 2"][-1] == "1×"
    others = ["Stable Diffusion 1.5's shape, 25"]
    if peers.monai_is_missing():
        assert "monai-ddpm: skipped, monai is not installed" in text
    else:
        others += ["MONAI latent diffusion, DDIM, 50", "MONAI latent diffusion, DDPM, 1000"]
    for peer in others:
        seconds, ours = float(table[peer][3]), float(table["phonybrains heads, 1"][3])
        assert float(table[peer][-2].rstrip("×")) == pytest.approx(seconds / ours, rel=0.02, abs=0.006)


def test_a_peer_that_is_not_installed_is_left_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Without MONAI the rest is measured, and the reason is printed."""
    monkeypatch.setattr(generate, "monai_is_missing", lambda: True)
    generate.app(["--smoke", "--engines", "torch", "--systems", "ours", "monai-ddpm"])
    text = capsys.readouterr().out
    assert "monai-ddpm: skipped, monai is not installed" in text
    assert [name for name in rows(text) if name.startswith("MONAI")] == []


def test_few_timed_steps_are_scaled_to_all(monkeypatch: pytest.MonkeyPatch):
    """A peer of 100 steps, 4 of them timed at 3 s each, decoded in 7 s, 2 images at a time: (300 + 7) / 2 s/image."""
    clock = [0.0]
    monkeypatch.setattr(peers, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def walk(count: int) -> None:
        clock[0] += 3 * count

    def decode(_: None) -> None:
        clock[0] += 7

    measure = peers.as_measurement(walk, decode, 100, peers.Size(peer_batch=2, timed_steps=4))
    assert measure(0) == pytest.approx((3 * 100 + 7) / 2)


def test_training_is_compared_with_a_plain_loop(capsys: pytest.CaptureFixture[str]):
    """The table has our loop and the plain one, with images encoded each step and with latents; ratios are of rates."""
    train.app(["--smoke"])
    table = rows(capsys.readouterr().out)
    names = ["phonybrains' loop", "plain loop, images encoded in each step", "plain loop, latents cached"]
    lines = [next(row for key, row in table.items() if key.startswith(name)) for name in names]
    ours = float(lines[0][2])
    for row in lines:
        assert float(row[6].rstrip("×")) == pytest.approx(ours / float(row[2]), rel=0.02, abs=0.006)
        assert re.fullmatch(r"\d+\.\d%", row[5])


def test_the_operations_of_a_denoiser_are_counted():
    """A denoiser that is one product of (1, 4) with (4, 5) has 2 · 4 · 5 operations."""

    class Product(nn.Linear):
        def forward(self, input: Tensor, *_: Tensor) -> Tensor:
            return super().forward(input.flatten(1))

    assert networks.forward_flop(Product(4, 5), (4, 1, 1), 2) == 2 * 4 * 5


def test_a_command_is_charged_for_its_memory_and_its_children():
    """60 MB that a command fills, and half a second of work that its child does, show in its usage."""
    spend = "import time; b = time.process_time()\nwhile time.process_time() < b + 0.5: pass"
    program = f"import subprocess, sys; x = bytearray(60_000_000); subprocess.run([sys.executable, '-c', {spend!r}])"
    used = timing.run([sys.executable, "-c", program])
    assert used.cpu_s > 0.5
    assert used.wall_s > 0.5
    assert used.peak_mib > 60e6 / 2**20


def test_a_command_that_fails_ends_the_benchmark_with_its_output():
    """What a failed command printed is the reason given."""
    with pytest.raises(SystemExit, match="no such brain"):
        timing.run([sys.executable, "-c", "import sys; sys.exit('no such brain')"])


def test_contestants_take_turns():
    """Each round calls everyone once, in order; results come back by contestant."""
    calls: list[str] = []

    def contestant(name: str) -> Callable[[int], str]:
        return lambda number: calls.append(name) or f"{name}{number}"

    assert timing.in_turns([contestant("a"), contestant("b")], 2) == [["a0", "a1"], ["b0", "b1"]]
    assert calls == ["a", "b", "a", "b"]


def test_the_difference_of_two_sets_is_that_of_their_pixels(phantom_corpus: Path, tmp_path: Path):
    """A set and its copy are identical; a copy with one pixel 3 grey levels off differs by 3 in one image."""
    copy = tmp_path / "copy"
    shutil.copytree(phantom_corpus, copy)
    found = read_metadata(copy / "metadata.csv")
    assert generate.largest_difference(phantom_corpus, copy) == (0, len(found))
    path = copy / found[5].file_name
    pixels = read_png(path).copy()
    pixels[10, 20] = pixels[10, 20] - 3 if pixels[10, 20] >= 3 else pixels[10, 20] + 3
    found[5] = replace(found[5], sha256=write_png(path, pixels))
    write_metadata(copy, found)
    assert generate.largest_difference(phantom_corpus, copy) == (3, len(found) - 1)
