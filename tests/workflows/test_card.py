"""A model's card takes the four lines of an evaluation of its images, and the model stays what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from phonybrains.errors import ModelError, OutputError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.stage import evaluate
from phonybrains.generating.stage import generate
from phonybrains.model.opening import open_model
from phonybrains.record import fingerprint, read_record
from phonybrains.workflows.card import evaluated_card
from tests.support.in_turn import called


def test_the_card_has_the_four_lines(
    tiny_model: Path, phantom_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """`model card --evaluation` writes and prints them, once however often it is given, before the figures, and the
    audit into the model, whose identity stays; what is not of this model, or of before there were any, changes
    nothing."""
    model, other = (shutil.copytree(tiny_model, tmp_path / name) for name in ("model", "other"))
    samples = generate(model, tmp_path / "samples", 4, where={"modality": "CT"}, seed=7, steps=2, show=False)
    config = EvaluateConfig(attributes=())
    out = evaluate(samples, phantom_corpus, tmp_path / "out", config, only=["memorisation"], show=False)
    scores = json.loads((out / "scores.json").read_text())
    row = scores["scores"][0] | {"part": "quality", "modality": "CT", "group": "", "extractor": "x", "n": 4}
    of_group = row | {"name": "kid", "value": 9.0, "group": "plane=axial"}
    scores["scores"] += [row | {"name": "kid", "value": 12.34567}, of_group, row | {"name": "recall", "value": None}]
    (out / "scores.json").write_text(json.dumps(scores))
    before, card = fingerprint(model), (model / "README.md").read_text("utf-8")
    text = card
    for _ in range(2):
        assert called("model", "card", model, "--evaluation", out) == 0
        text = (model / "README.md").read_text("utf-8")
        assert capsys.readouterr().out == text
    new = next(one for one in json.loads((out / "scores.json").read_text())["glance"] if one["question"] == "new?")
    shown = new["text"].replace("\n", "<br>")
    assert f"| new? | {new['answer']} | {shown} |" in text
    assert "| useful? | not measured | left out by --only |" in text
    assert "Of 4 of its images (seed 7, steps 2), against the test split" in text
    assert text.count("## At a glance\n") == 1
    (_, data, body), (_, data_before, body_before) = (each.split("---\n", 2) for each in (text, card))
    head, _, rest = body.partition("## At a glance\n")
    assert head + rest[rest.index("## Figures") :] == body_before
    (listed,) = (facts := yaml.safe_load(data)).pop("model-index")
    assert facts == yaml.safe_load(data_before)
    (result,) = listed["results"]
    assert (listed["name"], result["dataset"]["name"]) == ("model", "CT, test split")
    assert result["metrics"] == [{"type": "kid", "value": 12.3457, "name": "kid by x, n = 4"}]
    assert fingerprint(model) == before
    open_model(model)
    assert read_record(model)["results"]["audit"]["n"] == 4

    files = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    audit = json.loads((out / "audit.json").read_text())
    (out / "audit.json").write_text(json.dumps(audit | {"model": "0" * 64}))
    with pytest.raises(ModelError, match="not made by this model"):
        evaluated_card(other, out)
    del scores["glance"]
    (out / "scores.json").write_text(json.dumps(scores))
    with pytest.raises(OutputError, match="older phonybrains"):
        evaluated_card(other, out)
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == files
