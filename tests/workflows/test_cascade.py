"""The cascade: each model learns from the one before, a stopped run goes on, and drift that is planted is measured."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from phonybrains.errors import ConfigError
from phonybrains.evaluation.score import Score
from phonybrains.imageset import ImageSet, write_metadata, write_png
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.workflows.cascade import cascade
from phonybrains.workflows.drift import Yardstick

LOOP = {"steps": 6, "warmup": 1, "validate_every": 3, "checkpoint_every": 3}
QUICK: dict[str, Any] = {"autoencoder": {"loop": LOOP}, "denoiser": {"loop": LOOP}}
SCRIPT = """
import sys
from phonybrains.workflows.cascade import cascade
cascade(sys.argv[1], sys.argv[2], 2, steps=2, conditions=("plane",), show=False, **{settings!r})
"""


def table_of(out: Path) -> list[dict[str, str]]:
    with (out / "drift.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_stopped_cascade_goes_on_to_the_same_end(phantom_corpus: Path, tmp_path: Path):
    """Killed while the second generation is in work, then called again: tables and images of a run without a stop."""
    whole = cascade(phantom_corpus, tmp_path / "whole", 2, steps=2, conditions=("plane",), show=False, **QUICK)
    stopped = tmp_path / "stopped"
    command = [sys.executable, "-c", SCRIPT.format(settings=QUICK), str(phantom_corpus), str(stopped)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if list(tmp_path.glob(".stopped.*/generation-1/corpus/metadata.csv")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.wait()
    assert not stopped.exists()
    assert list(tmp_path.glob(".stopped.*/generation-1/samples/metadata.csv"))
    cascade(phantom_corpus, stopped, 2, steps=2, conditions=("plane",), show=False, **QUICK)
    assert (stopped / "drift.csv").read_bytes() == (whole / "drift.csv").read_bytes()
    for number in (1, 2):
        metadata = f"generation-{number}/samples/metadata.csv"
        assert (stopped / metadata).read_bytes() == (whole / metadata).read_bytes()

    rows = table_of(whole)
    assert {row["generation"] for row in rows} == {"0", "1", "2"}
    assert {row["modality"] for row in rows} == {"MR", "CT"}
    assert {"share_asked", "kid", "diversity", "ms_ssim_diversity", "noise_tissue"} <= {row["name"] for row in rows}
    kid = {row["generation"]: float(row["value"]) for row in rows if row["name"] == "kid" and row["modality"] == "MR"}
    assert kid["1"] > kid["0"]
    with Image.open(whole / "drift.png") as plot:
        assert plot.width > 1000
    corpus, made = ImageSet.open(phantom_corpus), ImageSet.open(whole / "generation-2" / "samples")
    assert len(made) == sum(row.split in ("train", "validation") for row in corpus.rows)
    assert made.record["inputs"][0]["record"]["inputs"][0]["record"]["stage"] == "cascade corpus"
    assert sorted(p.name for p in (whole / "generation-1").iterdir()) == ["samples"]


def test_settings_that_cannot_be_are_refused_before_anything_is_written(phantom_corpus: Path, tmp_path: Path):
    """No generation, or an attribute that no image has: one line, and no folder."""
    with pytest.raises(ConfigError, match="at least one"):
        cascade(phantom_corpus, tmp_path / "out", 0)
    with pytest.raises(ConfigError, match="colour"):
        cascade(phantom_corpus, tmp_path / "out", 1, conditions=("colour",), show=False)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """400 MR phantoms at 64×64, 2 of each head, as if they were scans."""
    out = tmp_path_factory.mktemp("heads") / "heads"
    return ImageSet.open(make_phantoms(400, out, size=64, slices_per_patient=2, modalities=("MR",), synthetic=False))


def changed(heads: ImageSet, out: Path, keep: Any, change: Any) -> ImageSet:
    """A generation with a planted drift: some of the images, each of them changed."""
    (out / "images").mkdir(parents=True)
    rows = []
    for i, row in enumerate(heads.rows):
        if keep(i, row):
            rows.append(replace(row, sha256=write_png(out / row.file_name, change(heads.pixels(i)))))
    write_metadata(out, rows)
    return ImageSet.open(out)


def test_planted_drift_is_measured(heads: ImageSet, tmp_path: Path):
    """Four in five of the axial images gone; noise blurred away: each is seen, and its interval leaves out no change.

    Unchanged images have their shares inside the intervals and a diversity near 1.
    """
    test = replace(heads, rows=heads.rows[:200])
    fewer = changed(test, tmp_path / "fewer", lambda i, row: row["plane"] != "axial" or i % 10 == 0, lambda x: x)
    blurred = changed(
        test,
        tmp_path / "blurred",
        lambda i, row: True,
        lambda x: np.rint(gaussian_filter(x.astype(float), 0.7)).astype(np.uint8),
    )
    yardstick = Yardstick.of(heads, ["plane"])
    before, rarer, smooth = (
        {(s.name, s.group): s for s in yardstick.scores(images)} for images in (test, fewer, blurred)
    )
    axial = ("share_found", "plane=axial")
    truth = sum(row["plane"] == "axial" for row in fewer.rows) / len(fewer)
    assert _holds(rarer[axial], truth)
    assert not _holds(rarer[axial], 1 / 2)
    assert _holds(before[axial], 1 / 2)
    noise, kid = ("noise_tissue", ""), ("kid", "")
    assert (smooth[noise].high or 9) < 0.6 * (before[noise].low or 0)
    assert (smooth[kid].low or 0) > (before[kid].high or 0)
    assert before["diversity", ""].value == pytest.approx(1, abs=0.1)
    alike = ("ms_ssim_diversity", "")
    assert (smooth[alike].low or 0) > (before[alike].value or 1)


def _holds(score: Score, value: float) -> bool:
    return score.low is not None and score.high is not None and score.low <= value <= score.high
