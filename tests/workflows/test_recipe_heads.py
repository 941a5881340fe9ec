"""The recipe of the model that ships, rehearsed on drawn heads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from phonybrains.imageset import ImageSet, write_metadata
from phonybrains.model.latent_diffusion import LatentDiffusion
from tests.support.feature_weights import squeezenet_file
from tests.support.forking import forking
from tests.support.places import ROOT

RECIPE = ["bash", ROOT / "recipes/heads.sh"]


def test_the_recipe_makes_a_model_and_its_figures(phantom_corpus: Path, tmp_path: Path):
    """Three trainings, one from another, images, figures on both splits; the same command again changes nothing."""
    out = tmp_path / "out"
    shutil.copytree(phantom_corpus, out / "corpus")
    _three_in_each_split(out / "corpus")
    features = squeezenet_file(tmp_path)
    with forking(tmp_path / "bin") as environment:
        environment |= {"PRESET": "tiny", "CONDITIONS": "plane", "FEATURES": str(features), "PYTHON": sys.executable}
        first, again = (
            subprocess.run([*RECIPE, out], env=environment, capture_output=True, text=True) for _ in range(2)
        )
    assert first.returncode == again.returncode == 0, first.stdout[-2000:] + first.stderr[-2000:]
    trained = ["earlier", "later", "model"]
    stages = [line.partition(":")[0] for line in (out / "times.txt").read_text().splitlines()]
    assert stages == [*trained, "95 images", "figures on validation", "figures on test", *trained]
    card = LatentDiffusion.load(out / "model").card
    assert card["guidance built in"] == 1.5
    assert card["images seen by the denoiser"] == 20 * 8
    assert len(ImageSet.open(out / "samples")) == 95
    for split in ("validation", "test"):
        assert [row["steps"] for row in json.loads((out / f"quality-{split}.json").read_text())["rows"]] == [1, 2]


def _three_in_each_split(corpus: Path) -> None:
    """Deal the people so that both modalities have enough images in every split."""
    images = ImageSet.open(corpus)
    counts: dict[str, int] = {}
    rows = []
    for row in images.rows:
        number = counts[row.modality] = counts.get(row.modality, -1) + 1
        split = ("train", "train", "validation", "test")[number % 4]
        rows.append(replace(row, split=split, patient_id=f"{row.modality}{number}"))
    write_metadata(corpus, rows)


def test_the_recipe_says_how_it_is_used(tmp_path: Path):
    """Without a source and without a corpus it makes nothing."""
    run = subprocess.run([*RECIPE, tmp_path / "out"], env=dict(os.environ), capture_output=True, text=True)
    assert run.returncode == 2
    assert "bash recipes/heads.sh OUT SOURCE" in run.stderr
    assert not (tmp_path / "out").exists()
