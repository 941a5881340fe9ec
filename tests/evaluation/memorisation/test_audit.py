"""The whole audit: copies and redrawn people fail, new heads pass, and what cannot be judged is said."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from bench.planted_copies import moved
from phonybrains.errors import StudyError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.findings import Findings, Sign
from phonybrains.evaluation.memorisation.audit import memorisation_audit
from phonybrains.evaluation.memorisation.copies import CopiesResult, Searched, findings_of
from phonybrains.evaluation.memorisation.registration import Matches
from phonybrains.evaluation.memorisation.signs import graded, sentence_of, verdict_of
from phonybrains.evaluation.memorisation.threshold import Unseen, calibrate
from phonybrains.evaluation.report.sections import _in_turn
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import fingerprint, read_record
from phonybrains.release_gate import read_audit, require_audit
from tests.support.evaluation_files import PAIR
from tests.support.image_files import drawn_small, written
from tests.support.in_turn import called

from .conftest import VALUES, Audit


def test_the_gravest_sign_is_the_verdict_and_its_sentence() -> None:
    """Failed before undecided before look before passed; it begins with the reason, and ends as the verdict."""
    signs = [Sign("copies", "passed", "CT", "CT: no copies"), Sign("nearness", "look", "CT", "CT: nearer")]
    assert verdict_of(signs) == "look"
    assert sentence_of(signs).startswith("CT: nearer; CT: no copies. The audit asks for a look")
    unknown = Sign("patients", "undecided", "MR", "MR: spread over patients cannot be judged")
    assert verdict_of([*signs, unknown]) == "undecided"
    worst = [*signs, unknown, *(Sign("patients", "failed", "CT", f"CT: {i}") for i in range(9))]
    assert verdict_of(worst) == "failed"
    assert "; 7 more such findings are in audit.json. The audit failed" in sentence_of(worst)
    assert verdict_of([]) == "undecided"
    words = [graded(p, most) for p, most in ((0.05, True), (0.049, True), (0.049, False))]
    assert words == ["passed", "failed", "look"]


def test_pairs_of_all_modalities_are_drawn() -> None:
    """The most suspicious of each modality come first, however much likelier those of one are."""
    pairs = [replace(PAIR, panel=panel, synthetic=str(i)) for panel in ("CT", "MR") for i in range(30)]
    first = [(pair.panel, pair.synthetic) for pair in _in_turn(pairs)[:4]]
    assert first == [("CT", "0"), ("MR", "0"), ("CT", "1"), ("MR", "1")]


def words_of(found: Findings) -> dict[str, str]:
    """The word for each value."""
    return {sign.group.partition("=")[2]: sign.word for sign in found.facts.signs if sign.look == "patients"}


def test_a_model_that_redraws_one_patient_a_value_fails(training: ImageSet, audit: Audit, tmp_path: Path) -> None:
    """Dose and response: of a "model" that for each value redraws that value's training images, turned by 2°, some
    mirrored, values of one or two people fail by patient, and of more people the images spread wider."""
    rng, images = default_rng(3), []
    for value in VALUES:
        own = [i for i, row in enumerate(training.rows) if row["value"] == value]
        for k in range(10):
            pixels = moved(training.pixels(own[k % len(own)]).astype(float), degrees=float(rng.uniform(-2, 2)))
            images.append(pixels.clip(0, 255).astype(np.uint8)[:, :: -1 if k % 3 else 1])
    asked = [{"value": value} for value in VALUES for _ in range(10)]
    redrawn = audit(written(tmp_path / "redrawn", images, attributes=asked))
    words = words_of(redrawn)
    assert (words["one"], words["two"], words["forty"]) == ("failed", "failed", "passed")
    scores = {(score.name, score.group.partition("=")[2]): score.value for score in redrawn.scores}
    found = [scores["effective_patients", name] for name in VALUES]
    assert found == sorted(found)
    assert found[0] == pytest.approx(1, abs=0.3)
    assert redrawn.facts.status == "failed"
    assert "CT, value = one: one patient takes most of the 10 images" in redrawn.facts.sentence
    assert scores["nearest_share", ""] > 0.9  # 58 people are redrawn in all


def test_a_model_that_mixes_passes(new_heads: ImageSet, audit: Audit) -> None:
    """New heads under the same values: no sign but "passed", and nothing in the sentence speaks of failure."""
    found = audit(new_heads)
    assert set(words_of(found)) == {"", *VALUES}
    assert {sign.word for sign in found.facts.signs} == {"passed"}
    assert found.facts.sentence.endswith("The audit passed; flagged pairs are for a person to judge.")
    audited = found.facts.audit["CT"]
    assert audited.left_out == 24  # few held-out images: training patients take turns
    assert (audited.exceedances == 0) == ("0 of 30 still allows 11.6%" in found.facts.sentence)
    assert "too few images to tell" not in found.facts.sentence


@pytest.mark.parametrize("n", [1, 4])
def test_a_few_images_decide_nothing(new_heads: ImageSet, audit: Audit, n: int) -> None:
    """One image of nobody used to pass; now the reason is said, with the chance that so few would show copies."""
    found = audit(replace(new_heads, rows=new_heads.rows[:n]))
    copies = next(sign for sign in found.facts.signs if sign.look == "copies")
    assert copies.word == "undecided"
    assert "too few images to tell" in copies.text


def test_copies_fail_and_are_shown_with_their_patients(
    training: ImageSet, new_heads: ImageSet, audit: Audit, tmp_path: Path
) -> None:
    """Four mirrored copies and one file of the training images: failed, each beside its image and patient, first."""
    copied = [training.pixels(i)[:, ::-1] for i in range(3, 7)]
    new = (new_heads.pixels(i) for i in range(15))
    found = audit(written(tmp_path / "s", [*copied, training.pixels(8), *new]))
    audited, pairs = found.facts.audit["CT"], found.facts.pairs
    assert found.facts.status == audited.status == "failed"
    assert audited.certain == 5
    assert {(pair.training, pair.patient, pair.flagged) for pair in pairs[:5]} == {
        (training.rows[i].file_name, f"person-{i // 2}", True) for i in (3, 4, 5, 6, 8)
    }
    assert [pair.same_file for pair in pairs].count(True) == 1
    assert found.arrays["similarity/CT/synthetic"].shape == (20,)
    assert "5 copies beyond doubt" in found.facts.sentence
    flagged = next(score for score in found.scores if score.name == "copies_flagged")
    assert flagged.value == audited.exceedances / audited.n >= 0.25
    assert flagged.p < 0.01


def test_an_audit_of_copies_at_half_the_size_fails(training: ImageSet, audit: Audit, tmp_path: Path) -> None:
    """A set that would show training people to anybody who enlarges it does not pass."""
    samples = written(tmp_path / "s", [drawn_small(training.pixels(i), 0.5) for i in range(12)])
    assert audit(samples).facts.status == "failed"


def test_without_patients_the_verdict_says_what_it_cannot(corpus: ImageSet, new_heads: ImageSet, audit: Audit) -> None:
    """The same new heads against the same corpus without patient ids: undecided, with the reason in the verdict."""
    unknown = replace(corpus, rows=tuple(replace(row, patient_id="") for row in corpus.rows))
    found = audit(replace(new_heads, rows=new_heads.rows[:10]), unknown)
    assert found.facts.status == "undecided"
    reason = "CT: spread over patients cannot be judged: of 116 training images, 116 name no patient"
    assert reason in found.facts.sentence


def test_a_modality_without_training_images_is_not_searched(audit: Audit, tmp_path: Path) -> None:
    """Undecided, and the score says why."""
    nothing = audit(written(tmp_path / "pet", [np.full((64, 64), 9, np.uint8)] * 2, modality="PET"))
    assert nothing.facts.status == "undecided"
    assert nothing.scores[0].value is None
    assert "fewer than two training images" in nothing.scores[0].note


def test_another_corpus_than_the_models_is_said(tiny_model: Path, phantom_corpus: Path, tmp_path: Path) -> None:
    """Images of a model, audited with the corpus it learnt from: nothing is said of it; with another one the verdict is
    undecided at best, since nobody knows what the model has seen."""
    samples = ImageSet.open(generate(tiny_model, tmp_path / "s", 4, steps=1, precision="fp32", show=False))
    another = make_phantoms(48, tmp_path / "other", seed=5, size=64)
    own, other = (
        memorisation_audit(samples, replace(ImageSet.open(folder), rows=()), EvaluateConfig())  # the record decides
        for folder in (phantom_corpus, another)
    )
    assert not [sign for sign in own.facts.signs if sign.look == "corpus"]
    (sign,) = [sign for sign in other.facts.signs if sign.look == "corpus"]
    assert "learnt from another corpus or other splits" in sign.text
    assert other.facts.status in ("undecided", "failed")


# --- By command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def few_of_corpus(corpus: ImageSet, tmp_path: Path) -> ImageSet:
    """8 of the training people, and 8 of the held-out ones."""
    rows = [*range(16), *range(len(corpus.rows) - 16, len(corpus.rows))]
    columns = {name: [corpus.rows[i][name] for i in rows] for name in ("patient_id", "split")}
    return written(tmp_path / "few-of-corpus", [corpus.pixels(i) for i in rows], **columns)


def test_the_command_exits_with_1_where_the_audit_fails(
    few_of_corpus: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`audit` of twelve copies of one patient's slice: 1, audit.json names the set, the signs and the reason; the gate
    holds. Two pairs are drawn: the report says how many are not, and pairs.csv has all."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.MOST_TURNS", 8)
    corpus, out = few_of_corpus.folder, tmp_path / "a"
    copies = [np.roll(few_of_corpus.pixels(0), (k % 4 - 2, k // 4 - 1), axis=(0, 1)) for k in range(12)]
    samples = written(tmp_path / "made", copies, attributes={"value": "one"}).folder
    (tmp_path / "quick.toml").write_text("[memorisation]\npairs = 2\n")
    command = ["audit", samples, "--against", corpus, "--out", out, "--config", tmp_path / "quick.toml"]
    assert called(*command) == 1
    found = read_audit(out)
    assert (found["verdict"], found["n"]) == ("failed", 12)
    assert (found["samples"], found["corpus"]) == (fingerprint(samples), fingerprint(corpus))
    assert found["evaluation"] == read_record(out)["identity"]
    assert found["verdict"] == json.loads((out / "findings" / "memorisation" / "facts.json").read_text())["status"]
    assert any("one patient takes most of the 12 images" in reason for reason in found["reasons"])
    assert {"copies", "patients", "nearness"} <= {sign["look"] for sign in found["signs"]}
    with pytest.raises(StudyError, match="failed its audit"):
        require_audit(samples)
    status = require_audit(samples, evaluations=[out], accept_unaudited=True)
    assert (status.word, status.verdict) == ("audited", "failed")
    with (out / "pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    flagged = {pair["synthetic"] for pair in pairs if pair["flagged"].lower() == "true"}
    assert len(flagged) >= 10
    assert all(pair["training"] and pair["judgement"] == "" for pair in pairs)
    hidden = f"{len(flagged) - 2} flagged pairs not drawn: all are in pairs.csv"
    assert hidden in (out / "report.html").read_text("utf-8")


def test_the_command_exits_with_0_where_nothing_is_decided(tmp_path: Path) -> None:
    """`evaluate` of phantoms that few real ones stand beside: undecided."""
    few = make_phantoms(4, tmp_path / "few", seed=4, size=64, modalities=("CT",))
    small = make_phantoms(12, tmp_path / "small", seed=3, size=64, modalities=("CT",), synthetic=False)
    command = ["evaluate", few, "--against", small, "--out", tmp_path / "b", "--only", "memorisation"]
    assert called(*command) == 0
    assert read_audit(tmp_path / "b")["verdict"] == "undecided"


def test_a_training_images_pixels_count_in_score_and_audit_alike(
    training: ImageSet, new_heads: ImageSet, tmp_path: Path
) -> None:
    """Where a held-out image is a training image's own pixels the threshold is 1, which no likeness exceeds: the file
    that is in both sets is counted all the same, once, by score, audit and sentence."""
    unseen = Unseen(np.array([0.2, 0.3, 1.0]), np.zeros(3, int), ["a", "b", "c"], [], 0)
    known = calibrate(unseen.score, unseen.who)
    found = Matches(np.array([1.0, 0.1]), np.array([1.0, 0.1]), np.zeros(2, int))
    search = Searched("registration-3", found, unseen, known, 0.9)
    two = replace(new_heads, rows=new_heads.rows[:2])
    result = CopiesResult("CT", two, training, (search,), np.array([True, False]))
    told = findings_of([result], [], [], 3)
    assert known.threshold == 1
    assert told.facts.audit is not None
    assert told.facts.audit["CT"].exceedances == 1
    assert next(score.value for score in told.scores if score.name == "copies_flagged") == 1 / 2
    assert "CT: 1 of 2 are nearer" in told.facts.sentence
