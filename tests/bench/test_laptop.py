"""The measurement of the preset laptop: what it learns from, which scores it takes, and what it shows of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import laptop
from bench.timing import Usage
from phonybrains.imageset import ImageSet

HEADS = {"MR kid": 110.0, "MR recall": 0.4, "CT kid": 63.0, "CT recall": 0.5}


def score(value: float | None, **about: Any) -> dict[str, Any]:
    """A pooled score of an evaluation, or one that its facts make another."""
    of = {"part": "quality", "name": "kid", "modality": "MR", "group": "", "extractor": "squeezenet-1"}
    return of | {"value": value, "low": None, "high": None, "null": {"value": 9.0}} | about


def test_a_part_has_some_people_of_training_and_all_others(phantom_corpus: Path, tmp_path: Path):
    """Of each modality its share, by whole people but for the last; a larger part has them too; it is made once."""
    whole = ImageSet.open(phantom_corpus)
    small, large = parts = [laptop.part(whole, n, 0, tmp_path / str(n)) for n in (8, 16)]
    for modality in ("MR", "CT"):
        taught = [s.where(split="train", modality=modality) for s in (*parts, whole)]
        assert [len(images) for images in taught] == [4, 8, 16]
        few, some, all_of_them = ({row.patient_id for row in images.rows} for images in taught)
        assert few < some < all_of_them
        assert len({row.patient_id for row in whole.rows if row.patient_id in few}) == len(few)
    for split in ("validation", "test"):
        assert {row.sha256 for row in small.where(split=split).rows} == {
            row.sha256 for row in whole.where(split=split).rows
        }
    same = next(i for i, row in enumerate(whole.rows) if row.sha256 == large.rows[0].sha256)
    assert np.array_equal(large.pixels(0), whole.pixels(same))
    (tmp_path / "8" / "record.json").write_text("{}")
    laptop.part(whole, 8, 0, tmp_path / "8")
    assert (tmp_path / "8" / "record.json").read_text() == "{}"


def test_what_a_model_is_judged_by(
    phantom_corpus: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of each modality's images the scores of all of them by learnt features that have a value; and a sheet of them."""
    told = [score(110.0), score(5.0, group="plane=axial"), score(None, name="recall"), score(7.0, name="fid")]
    told += [score(1.0, name="c2st_auc", extractor="handcrafted-1"), score(0.0, part="memorisation", name="kid")]
    judged_against = list[tuple[int, Path, Any]]()

    def evaluate(made: Path, real: Path, out: Path, config: object, only: object) -> Path:
        judged_against.append((len(ImageSet.open(made)), real, only))
        out.mkdir()
        (out / "scores.json").write_text(json.dumps({"scores": told}))
        return out

    monkeypatch.setattr(laptop, "evaluate", evaluate)
    found = laptop.judged(tiny_model, ImageSet.open(phantom_corpus), 3, 1, tmp_path / "squeezenet", tmp_path)
    assert found == {"MR kid": told[0], "CT kid": told[0]}
    assert judged_against == [(3, phantom_corpus, ("quality", "memorisation"))] * 2
    assert {row.modality for row in ImageSet.open(tmp_path / "CT-images").rows} == {"CT"}
    assert all((tmp_path / f"{modality}.png").is_file() for modality in ("MR", "CT"))


def test_each_size_is_learnt_judged_and_shown(
    phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Heads as it comes, then what it has become by each part, of which it is told what the corpus says; one curve."""
    trained, judged = list[list[str]](), list[tuple[str, Path]]()

    def run(command: list[str | Path]) -> Usage:
        trained.append([str(word) for word in command])
        return Usage(90.0, 120.0, 2048.0)

    def figures(model: str | Path, corpus: ImageSet, *_: object) -> dict[str, Any]:
        judged.append((str(model), corpus.folder))
        return {key: score(value - len(judged) * (value > 1)) for key, value in HEADS.items()}

    monkeypatch.setattr(laptop, "run", run)
    monkeypatch.setattr(laptop, "judged", figures)
    laptop.main(phantom_corpus, out=tmp_path, features=tmp_path / "squeezenet", sizes=(8, 16), threads=1)
    models, parts = ([tmp_path / f"{what}-{n}" for n in (8, 16)] for what in ("model", "corpus"))
    assert judged == [("heads", parts[1]), (str(models[0]), parts[0]), (str(models[1]), parts[1])]
    asked = ["--preset", "laptop", "--conditions", "plane", "--conditions", "diagnosis", "--conditions", "hemorrhage"]
    expected = [["train", str(p), "--out", str(m), *asked] for p, m in zip(parts, models, strict=True)]
    assert [command[3:] for command in trained] == expected
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [[cell.strip() for cell in table[i].split("|")[1:-1]] for i in (0, 2, 4)] == [
        ["learnt from", *HEADS, "people", "minutes", "of CPU", "GiB"],
        ["heads as it comes", "109 (9)", "0.4 (9)", "62 (9)", "0.5 (9)", "", "", "", ""],
        ["16 images", "107 (9)", "0.4 (9)", "60 (9)", "0.5 (9)", "4", "1.5", "2.0", "2.00"],
    ]
    assert (tmp_path / "curve.png").stat().st_size > 10_000
