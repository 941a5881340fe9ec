"""The four lines are true of their tables: whoever checks an answer against the rows finds none that is false."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader
from scipy.ndimage import gaussian_filter

from phonybrains.documents import as_kind
from phonybrains.evaluation.config import EvaluateConfig, QualityConfig
from phonybrains.evaluation.measures import MEASURES
from phonybrains.evaluation.outcomes import margin_of, outcome_of
from phonybrains.evaluation.quality.audit import quality_audit
from phonybrains.evaluation.report.build import build_report
from phonybrains.evaluation.report.glance import as_real, fair, glances, useful
from phonybrains.evaluation.report.tables import scores_of
from phonybrains.evaluation.report.terminal import print_glances
from phonybrains.evaluation.score import Glance, Null, Score, unavailable
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, import_images
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import Record
from phonybrains.reporting.pages import write_pages
from tests.conftest import one_at_a_time
from tests.support.evaluation_files import made_up, opened

DECISIVE = ["texture_worst_auc", "amplification", "amplification_asked", "delta_auc", "delta_dice"]
CLASSIFIERS = [name for name in MEASURES if name.startswith("c2st")]
numbers = st.one_of(st.floats(-2, 2), st.sampled_from([0.0, 0.5, 0.55, 1.0]))
perhaps = st.none() | st.floats(0, 1) | st.sampled_from([0.002, 0.05, 0.049])


@st.composite
def nulls(draw: st.DrawFn) -> Null:
    """A null of draws, of an estimate, or of chance."""
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    kind = draw(st.sampled_from(["drawn", "estimate", "chance"]))
    return Null(value, value, value) if kind == "chance" else Null(value, low, high, 20 if kind == "drawn" else 0)


@st.composite
def rows(draw: st.DrawFn) -> Score:
    """A row such as any part may write, consistent with itself or not."""
    name = draw(st.sampled_from([*MEASURES, *CLASSIFIERS, *CLASSIFIERS, *DECISIVE]))
    value, half = draw(st.none() | numbers), draw(st.none() | st.floats(0, 0.3))
    own = (None, None) if value is None or half is None else (value - half, value + half)
    null = draw(st.none() | nulls())
    if null is not None and draw(st.booleans()):  # near the null, where equivalence can be shown
        value = None if value is None else null.value + draw(st.floats(-0.05, 0.05))
        own = (None, None) if value is None else (value - 0.02, value + 0.02)
    groups = ["", "", "sex=F", "sex: real + synthetic 1:1"]
    modality, group = draw(st.sampled_from(["MR", "CT"])), draw(st.sampled_from(groups))
    return Score(name, value, *own, draw(st.integers(0, 500)), null, draw(perhaps), "test", modality, group)


def claim_holds(row: Score, said: str) -> bool:
    """Whether a reader of the row would grant the word, written without the rule's own code."""
    assert row.value is not None
    assert row.null is not None
    v, null, better = row.value, row.null, MEASURES[row.name].better
    worse = {"low": v > null.high, "high": v < null.low, "near": not null.low <= v <= null.high}[better]
    good = {"low": v < null.low, "high": v > null.high, "near": False}[better]
    inside = row.low is not None and row.high is not None and row.low <= null.value <= row.high
    if row.low is None and row.p is None and null.low == null.high:
        return said == "not shown"  # one number beside another, and nothing that says how far they may differ by chance
    if said == "apart":
        return worse and not inside and (row.p is None or row.p < 0.05)
    if said == "better":
        return good and not inside
    if said == "as real":
        margin = margin_of(row)
        ends = [v] + [end for end in (row.low, row.high) if end is not None]
        return (
            margin is not None
            and all(abs(end - null.value) <= margin + 1e-12 for end in ends)
            and row.n > 0
            and (row.p is None or row.p >= 0.05)
            and (row.low is not None or null.draws > 0)
        )
    return said == "not shown"


@given(st.lists(rows(), max_size=8))
def test_no_answer_is_false_for_its_rows(table: list[Score]):
    """Over random tables a reader of the rows grants each row's word, and the answers of the four lines: a yes has no
    row against it, a no has one, and "not measured" has none that could be judged."""
    for row in table:
        word = outcome_of(row)
        assert not word or claim_holds(row, word), (row, word)
    real, even, gain = as_real(table, ["MR", "CT"]), fair(table), useful(table)
    judged = [row for row in table if outcome_of(row)]
    whole = [row for row in judged if not row.group]
    telling = [row for row in whole if row.name.startswith(("kid", "c2st", "texture_worst_auc"))]
    assert (real.answer == "not measured") == (not telling)
    assert (real.answer == "no") == any(claim_holds(row, "apart") for row in telling)
    if real.answer == "yes":
        assert not any(claim_holds(row, "apart") for row in whole)
        for modality in ("MR", "CT"):
            kinds = {row.name: row for row in telling if row.modality == modality}
            assert "texture_worst_auc" in kinds
            assert any(name.startswith("c2st") for name in kinds)
        assert all(claim_holds(row, "as real") for row in telling if row.name.startswith("c2st"))
    shares = [row for row in judged if row.name in ("amplification", "amplification_asked")]
    assert (even.answer == "not measured") == (not shares)
    assert even.answer != "no" or any(claim_holds(row, "apart") for row in shares)
    assert even.answer != "yes" or all(claim_holds(row, "as real") for row in shares)
    gains = [row for row in judged if row.name.startswith("delta_") and "real + synthetic" in row.group]
    assert (gain.answer == "not measured") == (not gains)
    words = {word for row in gains for word in ("better", "apart") if claim_holds(row, word) and (row.p or 0) < 0.05}
    expected = {"better": "yes", "apart": "no"}
    assert gain.answer in ("not measured", expected[words.pop()] if len(words) == 1 else "not shown")
    for line in (real, even, gain):
        assert all(score in table for score in line.scores)


@given(rows())
def test_a_row_says_the_same_after_json(row: Score):
    """What is kept on disk is judged as what was computed; what is no number in JSON is none here either."""
    broken = Score(row.name, row.value, math.nan, math.inf, row.n, row.null, row.p)
    for one in (row, broken):
        assert outcome_of(as_kind(json.loads(json.dumps(one.to_json())), Score)) == outcome_of(one)


def test_the_rule_case_by_case():
    """Apart needs value, interval and p to agree; as real the interval within the margin; else it is not shown."""
    drawn = Null(0.5, 0.3, 0.9, 20)
    assert outcome_of(Score("c2st_auc", 0.77, 0.7, 0.84, 40, drawn, 0.2)) == "not shown"  # few patients: a wide null
    assert outcome_of(Score("c2st_forest_auc", 0.92, 0.88, 0.96, 40, Null(0.5, 0.5, 0.5))) == "apart"
    assert outcome_of(Score("c2st_accuracy", 0.9, 0.8, 0.96, 40, Null(0.5, 0.5, 0.5), 1e-6)) == "apart"
    assert outcome_of(Score("c2st_auc", 0.5, 0.42, 0.58, 400, Null(0.5, 0.45, 0.55, 20), 0.5)) == "as real"
    assert outcome_of(Score("c2st_auc", 0.5, 0.3, 0.7, 20, Null(0.5, 0.45, 0.55, 20), 0.5)) == "not shown"
    assert outcome_of(Score("kid", 0.01, 0.0, 0.02, 400, Null(0.01, 0.0, 0.02, 20), 0.5)) == "not shown"  # no margin
    assert outcome_of(Score("mmd_rbf", 0.01, 0.0, 0.02, 40, Null(0.01, 0.0, 0.02, 20), 0.002)) == "not shown"
    assert outcome_of(Score("kid", 0.5, 0.4, 0.6, 40, Null(0.01, 0.0, 0.02, 20), 0.002)) == "apart"
    assert outcome_of(Score("kid", 0.5, 0.4, 0.6, 40, Null(0.01, 0.0, 0.02, 20), 0.09)) == "not shown"
    assert outcome_of(Score("noise_ratio", 0.04, n=15, null=Null(1, 0.04, 10.5, 20), p=0.38)) == "not shown"
    assert outcome_of(Score("coverage", 0.99, n=40, null=Null(0.6, 0.5, 0.7, 20), p=1.0)) == "better"
    assert outcome_of(Score("precision", 0.8, n=40, null=Null(0.8, 0.78, 0.83, 20), p=0.5)) == "as real"
    assert outcome_of(Score("recall", 1.0, n=10, null=Null(1.0, 1.0, 1.0, 20), p=1.0)) == "not shown"  # ten images
    assert outcome_of(Score("delta_auc", -0.1, -0.2, -0.05, 40, Null(0, 0, 0), 0.01)) == "apart"
    assert outcome_of(Score("delta_auc", 0.1, 0.05, 0.2, 40, Null(0, 0, 0), 0.01)) == "better"
    assert outcome_of(Score("delta_auc", 0.1, 0.05, 0.2, 40, Null(0, 0, 0), 0.2)) == "not shown"
    assert outcome_of(Score("copying_z", -3.6, -5.6, -1.6, 40, Null(0, -1.96, 1.96))) == "apart"
    assert outcome_of(Score("c2st_auc", 0.16, 0.1, 0.25, 20, Null(0.54, 0.24, 0.8, 20), 1.0)) == "not shown"
    assert outcome_of(Score("auc", 0.9, 0.8, 0.95, 40, Null(0.5, 0.5, 0.5))) == ""
    assert outcome_of(unavailable("kid", "one image")) == outcome_of(Score("kid", 0.1)) == ""


def test_one_that_tells_is_enough_and_a_yes_needs_all():
    """As real: a forest that tells them is a no though all else is as real; a yes needs every classifier as real, a
    texture that was measured, and nothing apart; a modality about which nothing is known is in the way of it."""
    told = Score("c2st_forest_auc", 0.92, 0.88, 0.96, 400, Null(0.5, 0.5, 0.5), modality="MR")
    cannot = Score("c2st_auc", 0.5, 0.45, 0.55, 400, Null(0.5, 0.45, 0.55, 20), 0.6, modality="MR")
    unsure = replace(cannot, low=0.3, high=0.7)
    ruler = Score("texture_worst_auc", 0.6, 0.55, 0.65, 400, Null(0.58, 0.54, 0.66, 40), modality="MR")
    narrow = Score("recall", 0.4, n=400, null=Null(0.8, 0.7, 0.9, 40), p=0.01, modality="MR")
    assert as_real([cannot, ruler], ["MR"]).answer == "yes"
    assert (
        "Told apart by a forest, AUC 0.92 (0.88\u00a0to\u00a00.96), n = 400, against 0.5"
        in as_real([cannot, told], ["MR"]).text
    )
    for more, answer in (([told], "no"), ([narrow], "not shown"), ([unsure], "not shown")):
        assert as_real([cannot, ruler, *more], ["MR"]).answer == answer
    assert as_real([cannot], ["MR"]).answer == "not shown"
    assert as_real([cannot, ruler], ["MR", "CT"]).answer == "not shown"
    assert as_real([cannot, replace(ruler, value=0.9, low=0.85, high=0.95)], ["MR"]).answer == "no"


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No test reads or makes the key of the person who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def corpus(shared_folder: Path) -> ImageSet:
    kind = {"size": 64, "slices_per_patient": 2, "synthetic": False, "modalities": ("MR",)}
    with one_at_a_time(shared_folder, "verdict-corpus") as folder:
        return ImageSet.open(make_phantoms(200, folder, seed=1, **kind))


def pictures(folder: Path, kind: str, n: int) -> ImageSet:
    """Blobs of smoothed noise, or noise, as a synthetic set of MR."""
    rng, source = np.random.default_rng(4), folder / "pictures"
    source.mkdir(parents=True)
    for i in range(n):
        grey = rng.normal(size=(64, 64))
        grey = gaussian_filter(grey, rng.uniform(1, 4)) if kind == "blobs" else grey
        shown = np.clip(100 + 45 * grey / grey.std(), 0, 255).astype(np.uint8)
        Image.fromarray(shown).save(source / f"{i:03d}.png")
    config = ImportConfig(modality="MR", size=64, synthetic=True, generator="noise")
    import_images([source], folder / "set", config, progress=False)
    return ImageSet.open(folder / "set")


@pytest.mark.usefixtures("few_trees")
@pytest.mark.parametrize("kind", ["blobs", "noise"])
@pytest.mark.parametrize("n", [10, 30])
def test_noise_is_told(corpus: ImageSet, tmp_path: Path, kind: str, n: int):
    """Ten are enough: most scores are apart, none is as real, and the answer is no."""
    config = EvaluateConfig(quality=QualityConfig(permutations=99), attributes=())
    scores = quality_audit(pictures(tmp_path, kind, n), corpus, config).scores
    counts = Counter(map(outcome_of, scores))
    assert counts["as real"] == 0
    assert counts["apart"] >= 8
    assert as_real(scores, ["MR"]).answer == "no"


def test_one_wording_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The four lines and each row's word are the same in the page, the PDF, the terminal and the data."""
    sides = opened(tmp_path / "sides")
    found = made_up(sides)
    lines = glances(sides, found)
    blocks = build_report(sides, EvaluateConfig(), found, Record("evaluate", {}, 0))
    write_pages(tmp_path, "Evaluation", "", blocks, "foot")
    pdf = " ".join(page.extract_text() for page in PdfReader(tmp_path / "report.pdf").pages)
    page = (tmp_path / "report.html").read_text("utf-8").replace("&#x27;", "'")
    print_glances([as_kind(json.loads(json.dumps(one.to_json())), Glance) for one in lines])
    shown = [re.sub(r"\s+", "", text) for text in (pdf, page, capsys.readouterr().out)]
    for one in lines:
        for text, between in zip(shown, (":", ":", ""), strict=True):
            assert re.sub(r"\s+", "", f"{one.question}{one.answer}{between}{one.said}") in text
    scores = [score for findings in found.values() for score in findings.scores]
    assert [entry["judged"] for entry in scores_of(found)] == [outcome_of(score) for score in scores]
    assert {"apart", "not shown"} <= {entry["judged"] for entry in scores_of(found)}
    assert [one.answer for one in lines] == ["no", "no", "not shown", "not shown"]
