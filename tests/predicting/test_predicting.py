"""`predict train` and `predict apply` from an image set to a table: on scikit-learn's digits, and on what is unfit."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.errors import ConfigError, ImageSetError, ModelError
from phonybrains.imageset import ImageSet, Row, write_metadata, write_png
from phonybrains.optimising.cache import keep
from phonybrains.predicting import stage
from phonybrains.predicting.stage import predict_apply, predict_train

QUICK: dict[str, Any] = {
    "show": False,
    "base": {"steps": 100, "validate_every": 25},
    "diffusion": {"steps": 400, "validate_every": 100},
    "draws": 10,
    "steps": 4,
}


def digits(folder: Path, n: int = 400, size: int = 8, seed: int = 0) -> Path:
    """Handwritten digits 1, 3, 7 and 8 as an image set, in the splits 60/20/20; `ink` is their mean grey."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    chosen = [i for i in range(len(found.target)) if found.target[i] in (1, 3, 7, 8)][:n]
    (folder / "images").mkdir(parents=True)
    rows, rng = [], np.random.default_rng(seed)
    for number, i in enumerate(chosen):
        grey = np.pad((found.images[i] * 15.9).astype(np.uint8), (0, size - 8))
        name, split = f"images/{number:06d}.png", ("train", "train", "train", "validation", "test")[number % 5]
        shown = {"digit": f"d{found.target[i]}", "ink": float(grey.mean()), "one": "x", "noise": float(rng.normal())}
        digest = write_png(folder / name, grey)
        rows.append(Row(name, digest, "MR", f"P{number:04d}", split, attributes=shown))
    write_metadata(folder, rows)
    return folder


def changed(folder: Path, out: Path, change: Any) -> Path:
    """A copy of an image set with other rows."""
    shutil.copytree(folder, out)
    write_metadata(out, change(ImageSet.open(folder).rows))
    return out


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits(tmp_path_factory.mktemp("digits") / "corpus")


@pytest.fixture(scope="module")
def model(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return predict_train(corpus, tmp_path_factory.mktemp("model") / "model", attribute="digit", **QUICK)


@pytest.fixture(scope="module")
def answers(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return predict_apply(corpus, model, tmp_path_factory.mktemp("answers") / "answers", show=False, draws=10, steps=4)


def test_digits_are_told_apart(model: Path):
    """Of four digits nine in ten are named rightly on images kept apart; wrong answers are wider than right ones."""
    found = json.loads((model / "record.json").read_text())["results"]["test"]
    assert found["accuracy"] > 0.9
    assert found["accuracy of base"] > 0.9
    assert found["images"] == 80
    if found["width where wrong"] is not None:
        assert found["width where wrong"] > found["width where right"]


def test_a_table_answers_for_every_image(corpus: Path, model: Path, answers: Path):
    """One row an image, in order; probabilities sum to 1; figures of the test split are those of the training."""
    rows, images = table(answers), ImageSet.open(corpus)
    assert [row["file_name"] for row in rows] == [row.file_name for row in images.rows]
    labels = ("d1", "d3", "d7", "d8")
    for row in rows:
        assert sum(float(row[f"p {label}"]) for label in labels) == pytest.approx(1, abs=1e-6)
        assert row["answer"] in labels
        assert row["certain"] in ("true", "false")
    test = [row for row in rows if row["split"] == "test"]
    accuracy = json.loads((model / "record.json").read_text())["results"]["test"]["accuracy"]
    assert np.mean([row["answer"] == row["digit"] for row in test]) == pytest.approx(accuracy)


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(
    corpus: Path, model: Path, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped after two shards of answers, the same command draws only the rest; the table is the same."""
    kept: list[Path] = []

    def stopping(path: Path, *rest: Any) -> None:
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(path)
        keep(path, *rest)

    monkeypatch.setattr(stage, "keep", stopping)
    with pytest.raises(KeyboardInterrupt):
        predict_apply(corpus, model, tmp_path / "out", show=False, draws=10, steps=4)
    monkeypatch.setattr(stage, "keep", lambda path, *rest: kept.append(path))
    predict_apply(corpus, model, tmp_path / "out", show=False, draws=10, steps=4)
    assert len(kept) == len(set(kept)) == 7
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (answers / "predictions.csv").read_bytes()


def test_an_answer_does_not_depend_on_what_is_known_of_the_image(
    corpus: Path, model: Path, answers: Path, tmp_path: Path
):
    """Without labels and splits the answers are the same, and no figures are given."""
    bare = changed(corpus, tmp_path / "bare", lambda rows: [replace(r, split="", attributes={}) for r in rows[:70]])
    found = predict_apply(bare, model, tmp_path / "out", show=False, draws=10, steps=4)
    names = ("file_name", "answer", "certain", "p d1", "width d8", "base")
    assert [[row[n] for n in names] for row in table(found)] == [[r[n] for n in names] for r in table(answers)[:70]]
    assert "known" not in json.loads((found / "record.json").read_text())["results"]


def test_a_number_gets_an_interval(corpus: Path, tmp_path: Path):
    """The ink of a digit is read to a quarter of its spread; the interval holds the mean and most of the truth."""
    model = predict_train(corpus, tmp_path / "model", attribute="ink", **QUICK)
    found = json.loads((model / "record.json").read_text())["results"]["test"]
    spread = np.std([float(row["ink"]) for row in ImageSet.open(corpus).rows])
    assert found["RMSE"] < 0.25 * spread
    assert found["PICP"] > 0.7
    rows = table(predict_apply(corpus, model, tmp_path / "out", show=False, draws=10, steps=4))
    assert all(float(row["low"]) < float(row["answer"]) < float(row["high"]) for row in rows)


@pytest.mark.parametrize(
    ("attribute", "change", "reason"),
    [
        ("digits", lambda rows: rows, "no attribute 'digits'. It has digit, ink, one, noise"),
        ("one", lambda rows: rows, "one is x in all of train: there is nothing to tell apart"),
        ("digit", lambda rows: [replace(r, split="") for r in rows], "no image of the split train says its digit"),
        (
            "digit",
            lambda rows: [replace(r, attributes={"digit": None, "ink": 1.0}) for r in rows],
            "no image of the split train says its digit",
        ),
        (
            "digit",
            lambda rows: [replace(r, split=r.split.replace("validation", "")) for r in rows],
            "no image of the split validation says its digit",
        ),
        (
            "digit",
            lambda rows: [replace(r, patient_id="P1", split="train") if r["digit"] == "d7" else r for r in rows],
            "one person alone of train has digit d7; a class needs two",
        ),
    ],
)
def test_what_cannot_be_learnt_is_said_at_once(corpus: Path, tmp_path: Path, attribute: str, change: Any, reason: str):
    """An attribute that is unknown, constant, missing or shown by one person is refused before anything is written."""
    unfit = changed(corpus, tmp_path / "unfit", change)
    with pytest.raises(ConfigError, match=reason):
        predict_train(unfit, tmp_path / "out", attribute=attribute, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["unfit"]


def test_weights_that_cannot_be_read_are_said_at_once(corpus: Path, tmp_path: Path):
    """SqueezeNet weights that are missing, or are something else, are refused before anything is written."""
    wrong, out = tmp_path / "wrong.safetensors", tmp_path / "out"
    with pytest.raises(ConfigError, match=r"features: .*wrong\.safetensors cannot be read \(No such file"):
        predict_train(corpus, out, attribute="digit", features=wrong, **QUICK)
    wrong.write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"wrong\.safetensors: not SqueezeNet 1\.1 features"):
        predict_train(corpus, out, attribute="digit", features=wrong, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == [wrong.name]


def test_a_model_is_asked_for_what_it_knows(corpus: Path, model: Path, tmp_path: Path):
    """Another attribute, size or modality, no image set and no model: a line each, and nothing is written."""
    larger = digits(tmp_path / "larger", n=10, size=12)
    other = changed(corpus, tmp_path / "other", lambda rows: [replace(r, modality="CT") for r in rows[:3]])
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="predicts digit, not diagnosis"):
        predict_apply(corpus, model, out, attribute="diagnosis", show=False)
    with pytest.raises(ConfigError, match="images are 12×12, MR; the model predicts digit of 8×8, MR"):
        predict_apply(larger, model, out, show=False)
    with pytest.raises(ConfigError, match="images are 8×8, CT; the model predicts digit of 8×8, MR"):
        predict_apply(other, model, out, show=False)
    with pytest.raises(ImageSetError):
        predict_apply(tmp_path, model, out, show=False)
    with pytest.raises(ModelError, match=r"predictor\.json"):
        predict_apply(corpus, corpus, out, show=False)
    with pytest.raises(ConfigError, match="draws"):
        predict_apply(corpus, model, out, draws=1, show=False)
    assert not out.exists()
