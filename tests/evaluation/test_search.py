"""Searches for copies: kept and taken up again, by features too, of neighbouring slices; and what the audit says."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from safetensors.torch import save_file

from phonybrains.errors import ConfigError
from phonybrains.evaluation.config import EvaluateConfig, MemorisationConfig
from phonybrains.evaluation.inputs.patients import patients
from phonybrains.evaluation.memorisation.part import audit_modality, divisions_of, memorisation_audit
from phonybrains.evaluation.memorisation.registration import CopySearch
from phonybrains.evaluation.memorisation.search import ByFeatures, ByRegistration
from phonybrains.evaluation.stage import evaluate
from phonybrains.imageset import ImageSet, Row, write_metadata, write_png
from phonybrains.networks.squeezenet import SqueezeNet
from phonybrains.phantom.corpus import draw_patient, draw_slice, make_phantoms

SLICES, BETWEEN_MM = 3, 8.0


def volume(seed: int, shift_mm: float = 0.0) -> list[np.ndarray]:
    """Neighbouring axial slices of one head, BETWEEN_MM apart, all `shift_mm` higher; the noise is each slice's own."""
    patient = draw_patient(default_rng([seed, 0]), "MR", lesion="glioma")
    levels = [patient.centre[2] + (i - 1) * BETWEEN_MM + shift_mm for i in range(SLICES)]
    return [draw_slice(default_rng([seed, 1]), patient, "axial", level, size=96, noise=0.5)[0] for level in levels]


def written(folder: Path, people: dict[str, tuple[str, list[np.ndarray]]]) -> ImageSet:
    """An image set of these people: the split of each, and the images."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for who, (split, images) in people.items():
        for k, image in enumerate(images):
            name = f"images/{who}-{k}.png"
            rows.append(Row(name, write_png(folder / name, image), "MR", who if split else "", split, not split))
    write_metadata(folder, rows)
    return ImageSet.open(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Volumes of 28 heads, 7 of them held out."""
    people = {f"p{i}": ("test" if i % 4 == 3 else "train", volume(i)) for i in range(28)}
    return written(tmp_path_factory.mktemp("volumes") / "corpus", people)


@pytest.fixture(autouse=True)
def few_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few training images calibrate, to be fast."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.part.MOST_TURNS", 30)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet's form with random weights."""
    rng, found = torch.Generator().manual_seed(0), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqueezeNet, "load_state_dict", lambda self, _: found.update(self.state_dict()))
        patch.setattr("phonybrains.networks.squeezenet.load_file", lambda _: {})
        SqueezeNet(Path("none.safetensors"))
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file({name: 0.1 * torch.randn(value.shape, generator=rng) for name, value in found.items()}, path)
    return path


def config(**settings: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate(settings)


def test_neighbours_of_training_slices_are_flagged_with_their_patient(corpus: ImageSet, tmp_path: Path):
    """Images half way between two slices of a training volume, which no training image shows: most are flagged, the
    patient is named rightly, and the audit fails; as many images of new heads pass."""
    between = {f"c{i}": ("", volume(i, BETWEEN_MM / 2)[:1]) for i in range(0, 28, 4)}
    copies, _ = audit_modality(written(tmp_path / "between", between), corpus, EvaluateConfig())
    (one,) = copies.searches
    named = [copies.training.rows[k].patient_id for k in one.found.index]
    right = [who == f"p{i}" for who, i in zip(named, range(0, 28, 4), strict=True)]
    assert np.mean(copies.flagged & right) >= 0.7
    assert copies.status == "failed"
    new = {f"n{i}": ("", volume(100 + i)[:1]) for i in range(10)}
    strangers, _ = audit_modality(written(tmp_path / "new", new), corpus, EvaluateConfig())
    assert strangers.flagged.mean() <= 0.2
    assert strangers.status == "passed"


def test_who_takes_turns_is_searched_for_among_others_only():
    """Known patients are never on both sides; where they are unknown, nothing within 30 images in order is."""

    def unseen(patient: str) -> ImageSet:
        rows = [Row(f"{i}.png", "", "MR", patient and f"{patient}{i // 7}", "train") for i in range(400)]
        return ImageSet(Path(), tuple(rows), 8, 8, 8)

    for images in (unseen("p"), unseen("")):
        people, turns = np.array(patients(images.rows)), np.zeros(400, dtype=int)
        for fold, rest in divisions_of(images, people.tolist(), default_rng(0)):
            turns += fold
            assert rest.sum() > 200
            assert not set(people[fold]) & set(people[rest])
            if not images.rows[0].patient_id:
                apart = np.abs(np.flatnonzero(fold)[:, None] - np.flatnonzero(rest))
                assert apart.min() > 30
        assert (turns == 1).all()


def test_a_search_goes_on_where_it_stopped(corpus: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 10: a stop in the third leaves two, which are not searched again; other training images are."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.search.SHARD", 10)
    training, numbers = corpus.where(split="train"), range(25)
    whole = ByRegistration.of(training).found(corpus, numbers)
    nearest, seen = CopySearch.nearest, [0]

    def counting(self: CopySearch, images: torch.Tensor):
        seen[0] += len(images)
        if seen[0] == 25:
            raise KeyboardInterrupt
        return nearest(self, images)

    monkeypatch.setattr(CopySearch, "nearest", counting)
    with pytest.raises(KeyboardInterrupt):
        ByRegistration.of(training, tmp_path).found(corpus, numbers)
    assert len(list(tmp_path.glob("matches-*.npy"))) == 2
    seen[0] = 100
    again = ByRegistration.of(training, tmp_path).found(corpus, numbers)
    assert seen[0] == 105
    np.testing.assert_array_equal(again.score, whole.score)
    np.testing.assert_array_equal(again.index, whole.index)
    next(tmp_path.glob("matches-*.npy")).write_bytes(b"half")
    ByRegistration.of(training, tmp_path).found(corpus, numbers)
    assert seen[0] in (110, 115)
    before = seen[0]
    ByRegistration.of(training, tmp_path).part(np.arange(20)).found(corpus, numbers)
    assert seen[0] == before + 25


def test_features_find_mirrored_training_images(corpus: ImageSet, tmp_path: Path, weights: Path):
    """The search by features names training images in the mirror, and is certain; a part knows only its own images."""
    training = corpus.where(split="train")
    mirrored = {f"m{i}": ("", [np.ascontiguousarray(training.pixels(i)[:, ::-1])]) for i in range(5)}
    (network,) = [one for one in extractors(weights) if one.name == "squeezenet1_1"]
    search = ByFeatures.of(training, network, tmp_path / "kept")
    found = search.found(written(tmp_path / "mirrored", mirrored), range(5))
    assert found.index.tolist() == [0, 1, 2, 3, 4]
    assert (found.score > search.certain).all()
    others = search.part(np.arange(3, 60)).found(training, [0, 3])
    assert others.index[1] == 0
    assert others.score[0] < others.score[1] == pytest.approx(1, abs=1e-4)


def extractors(weights: Path):
    from phonybrains.evaluation.features.extractors import extractors_of

    return extractors_of(config(features=weights)).found


def test_both_searches_share_one_verdict(corpus: ImageSet, tmp_path: Path, weights: Path):
    """Scores of both, what either flags is flagged, p is twice the less; without weights the features are not there,
    and it is said; features alone without weights are no audit."""
    training = corpus.where(split="train")
    copied = {f"m{i}": ("", [training.pixels(i)[:, ::-1].copy()]) for i in range(4)}
    fresh = {f"n{i}": ("", volume(200 + i)[:1]) for i in range(8)}
    samples = written(tmp_path / "s", copied | fresh)
    both = memorisation_audit(samples, corpus, config(features=weights, memorisation={"search": "both"}))
    flagged = {score.extractor: score for score in both.scores if score.name == "copies_flagged"}
    assert [name.partition(" ")[0] for name in flagged] == ["registration-3", "squeezenet1_1"]
    assert {score.extractor for score in both.scores if score.name == "authentic_share"} == {
        "structure-1",
        next(name for name in flagged if name.startswith("squeeze")),
    }
    audited = both.facts.audit["MR"]
    assert audited.p == pytest.approx(min(1, 2 * min(score.p or 0 for score in flagged.values())))
    assert audited.status == "failed"
    assert audited.certain >= 4
    assert {"similarity/MR/synthetic", "similarity/MR, squeezenet1_1/held_out"} <= set(both.arrays)
    missing = memorisation_audit(samples, corpus, config(memorisation={"search": "both"}))
    assert [score.note for score in missing.scores if score.value is None] == [
        "no weights: name their file or address with --features"
    ]
    assert missing.facts.audit["MR"].searches == ["registration-3"]
    nothing = memorisation_audit(samples, corpus, config(memorisation={"search": "features"}))
    assert nothing.facts.status == "undecided"


def test_the_loss_of_a_model_tells_members_only_if_it_is_asked(tiny_model: Path, phantom_corpus: Path, tmp_path: Path):
    """With member_loss and a model its AUC stands among the scores; images of another size are said; no model is an
    error before anything is measured."""
    real = ImageSet.open(phantom_corpus)
    samples = replace(real, rows=real.where(split="test").rows)
    settings = config(model=tiny_model, memorisation={"member_loss": True})
    scores = {(s.name, s.modality): s for s in memorisation_audit(samples, real, settings).scores}
    assert {modality for name, modality in scores if name == "member_loss_auc"} == {"MR", "CT"}
    for (name, _), score in scores.items():
        if name == "member_loss_auc" and score.value is not None:
            assert 0.2 < score.value < 0.8
    assert any(s.value is not None for (name, _), s in scores.items() if name == "member_loss_auc") or all(
        "held-out" in s.note for (name, _), s in scores.items() if name == "member_loss_auc"
    )
    small = ImageSet.open(make_phantoms(120, tmp_path / "small", size=32, slices_per_patient=1))
    noted = memorisation_audit(small.where(modality="MR"), small, settings).scores
    assert next(s.note for s in noted if s.name == "member_loss_auc").endswith("pixels a side, the corpus has 32×32")
    with pytest.raises(ConfigError, match="--model"):
        evaluate(
            phantom_corpus,
            phantom_corpus,
            tmp_path / "out",
            EvaluateConfig(memorisation=MemorisationConfig(member_loss=True)),
            show=False,
        )


def test_every_flagged_pair_is_listed_though_few_are_drawn(corpus: ImageSet, tmp_path: Path):
    """Six copies and two pairs drawn: the report says that four are not, and pairs.csv has all six."""
    training = corpus.where(split="train")
    copied = {f"m{i}": ("", [training.pixels(i)[:, ::-1].copy()]) for i in range(6)}
    samples = written(tmp_path / "s", copied | {f"n{i}": ("", volume(300 + i)[:1]) for i in range(6)})
    settings = config(memorisation={"pairs": 2})
    out = evaluate(samples.folder, corpus.folder, tmp_path / "out", settings, only=["memorisation"], show=False)
    with (out / "pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    flagged = [pair for pair in pairs if pair["flagged"].lower() == "true"]
    assert {f"images/m{i}-0.png" for i in range(6)} <= {pair["synthetic"] for pair in flagged}
    assert all(pair["training"] and pair["judgement"] == "" for pair in pairs)
    shown = len(flagged) - 2
    assert f"{shown} flagged pairs not drawn: all are in pairs.csv" in (out / "report.html").read_text("utf-8")
    assert json.loads((out / "audit.json").read_text("utf-8"))["verdict"] == "failed"
