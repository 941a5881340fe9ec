"""The cascade: each model learns from the one before, a stopped run goes on, and drift that is planted is measured."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from phonybrains.errors import ConfigError
from phonybrains.evaluation.score import Score
from phonybrains.imageset import ImageSet, write_metadata, write_png
from phonybrains.optimising.checkpoint import TrainState
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.workflows.cascade import cascade, draw_drift
from phonybrains.workflows.drift import Yardstick
from tests.support.report_files import illegible, keep_figures

SHARES = ("share_found", "share_asked")
LOOP = {"steps": 6, "warmup": 1, "validate_every": 3, "checkpoint_every": 3}
QUICK: dict[str, Any] = {"autoencoder": {"loop": LOOP}, "denoiser": {"loop": LOOP}}


def test_a_stopped_cascade_goes_on_to_the_same_end(
    phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped while the second generation learns, then called again: tables and images of a run without a stop."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run = partial(cascade, phantom_corpus, generations=2, steps=2, conditions=("plane",), show=False, **QUICK)
    save = TrainState.save

    def stop_in_the_second(state: TrainState, path: Path) -> None:
        save(state, path)
        if "generation-2" in str(path):
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainState, "save", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(out=stopped)
    monkeypatch.undo()
    assert not stopped.exists()
    assert list(tmp_path.glob(".stopped.*/generation-1/samples/metadata.csv"))
    assert list(tmp_path.glob(".stopped.*/generation-2/.model.*"))
    for out in (stopped, whole):
        run(out=out)
    for name in ("drift.csv", "generation-1/samples/metadata.csv", "generation-2/samples/metadata.csv"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()

    rows = list(csv.DictReader((whole / "drift.csv").read_text(encoding="utf-8").splitlines()))
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
    kept = [(i, row) for i, row in enumerate(heads.rows) if keep(i, row)]
    digests = [write_png(out / row.file_name, change(heads.pixels(i))) for i, row in kept]
    write_metadata(out, [replace(row, sha256=digest) for (_, row), digest in zip(kept, digests, strict=True)])
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


def test_the_drift_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With as many labels as there may be and lines that lie far apart: nothing is too small, cut, or over data."""
    names = [f"diagnosis=a long name of {i}" for i in range(12)]
    shares = [Score(kind, 0.1, 0.0, 0.2, 50, modality="MR", group=group) for kind in SHARES for group in names]
    plain = [Score(name, 700.0, 1.0, 900.0, 50, modality="MR") for name in ("kid", "diversity", "noise_tissue")]
    drawn = keep_figures(monkeypatch)
    found = {number: [*shares, *plain, Score("noise_background", 0.1, n=50, modality="CT")] for number in range(3)}
    draw_drift(found, tmp_path / "drift.png", ["MR", "CT"])
    (drawing,) = drawn
    assert illegible(drawing) == []
    legend = drawing.axes[0].get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 12
    assert drawing.get_size_inches()[0] < 7


def _holds(score: Score, value: float) -> bool:
    return score.low is not None and score.high is not None and score.low <= value <= score.high
