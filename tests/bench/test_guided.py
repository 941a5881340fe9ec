"""The curve of adherence against variety is measured where it says it is."""

from __future__ import annotations

import csv
from pathlib import Path

from bench import guided
from tests.support.tiny_training import save_squeezenet


def test_every_setting_has_its_row(tmp_path: Path):
    """On a few heads: phantoms kept apart first, then each strength, the condition told and not, then without."""
    weights = save_squeezenet(tmp_path / "squeezenet.safetensors", seed=0)
    few = "--n 24 --held 9 --denoiser-steps 2 --classifier-steps 2 --steps 3 --strengths 0 2"
    guided.app(f"--out {tmp_path}/out --features {weights} {few}".split())
    with (tmp_path / "out" / "guided.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == [
        "phantoms kept apart",
        "told, classifier 0",
        "told, classifier 2",
        "not told, classifier 0",
        "not told, classifier 2",
        "guidance 2, no classifier",
    ]
    assert all(int(row["n"]) == int(rows[0]["n"]) for row in rows)
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("adherence", "precision", "recall", "coverage"))
    assert (float(rows[0]["recall"]), float(rows[0]["precision"])) == (1, 1)
