"""The audit by patient: spread over training patients, nearness to training people, one rule for the verdict."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.stats import mannwhitneyu

from bench.planted_copies import moved
from phonybrains.cli.parser import app
from phonybrains.errors import StudyError
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.findings import Findings, Pair, Sign
from phonybrains.evaluation.memorisation import nearness, spread
from phonybrains.evaluation.memorisation.closeness import Closeness, closeness_of
from phonybrains.evaluation.memorisation.nearness import nearness_of
from phonybrains.evaluation.memorisation.part import memorisation_audit
from phonybrains.evaluation.memorisation.signs import graded, sentence_of, verdict_of
from phonybrains.evaluation.memorisation.spread import Group, Labels, Landed, effective_number, groups_of, spread_of
from phonybrains.evaluation.report.sections import _in_turn
from phonybrains.generating.stage import generate
from phonybrains.imageset import Attribute, ImageSet, Row, write_metadata, write_png
from phonybrains.phantom.corpus import draw_patient, draw_phantom, draw_slice, make_phantoms
from phonybrains.release_gate import audit_status, require_audit, write_audit

NAMES = [f"p{i:02d}" for i in range(30)]


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


# --- Spread over training patients -----------------------------------------------------------------------------------


def people(rng: Generator, n: int) -> np.ndarray:
    """Chances of landing on each of 30 training patients, (n, 30), as narrow as those of unseen people of real CT."""
    return rng.dirichlet(np.full(len(NAMES), 0.15), n)


def landings(rng: Generator, chances: np.ndarray, each: int) -> tuple[np.ndarray, list[str]]:
    """Where `each` images of every person land, and whose they are."""
    landed = np.concatenate([rng.choice(len(NAMES), each, p=row) for row in chances])
    return landed, [f"u{i}" for i in range(len(chances)) for _ in range(each)]


def signs_for(rng: Generator, made: np.ndarray, patients: int, unseen: np.ndarray, each: int = 20) -> list[Sign]:
    """The sign of one group of generated images, judged beside unseen people."""
    landed, who = landings(rng, unseen, each)
    rows = [Row("", "", "CT")] * len(landed)
    one = Landed("search", made, landed, who, rows)
    group = Group("value=x", tuple(range(len(made))), "x", "value", patients, max(5, min(patients, len(unseen))))
    return list(spread.signs_of(spread_of([one], [group], [], NAMES, int(rng.integers(2**31))), "CT"))


def test_the_effective_number_by_hand() -> None:
    """Seven equal shares are seven patients; one who takes half of the images or more leaves less than four."""
    assert effective_number(np.array([3] * 7 + [0] * 9)) == pytest.approx(7)
    assert effective_number(np.array([10, 10, 0])) == pytest.approx(2)
    assert effective_number(np.array([20, *[1] * 20])) < 4


@pytest.mark.parametrize("patients", [1, 2, 3])
def test_few_patients_redrawn_fail(patients: int, rng: Generator) -> None:
    """A value whose images are those of one, two or three patients in turns fails, whatever the number of its patients;
    the sentence counts them."""
    made = rng.permutation(np.arange(40) % patients)
    for of_this_value in (patients, 10):
        (sign,) = signs_for(rng, made, of_this_value, people(rng, 30))
        assert sign.word == "failed"
        takers = {1: "one patient takes", 2: "two patients take", 3: "two patients take"}[patients]
        assert f"CT, value = x: {takers} most of the 40 images" in sign.text
        assert sign.effective == pytest.approx(patients, rel=0.02)


def test_one_patient_among_many_is_seen_by_its_share(rng: Generator) -> None:
    """The more of the images are one patient's, the graver the word: 60 % of a modality fails, none of it passes."""
    words = []
    for share in (0.0, 0.6, 1.0):
        made = np.where(np.arange(200) < 200 * share, 4, landings(rng, people(rng, 200), 1)[0])
        words.append(signs_for(rng, made, 30, people(rng, 40))[0].word)
    assert words == ["passed", "failed", "failed"]


def test_unseen_people_pass_at_the_level(rng: Generator) -> None:
    """Sets of as many people as show the value, slices of one person landing alike: at most 1 in 20 gets more than
    "passed"; sets in which each image is another person's still fewer."""
    clustered = fresh = 0
    for _ in range(150):
        unseen, new = people(rng, 25), people(rng, 8)
        clustered += signs_for(rng, landings(rng, new, 6)[0], 8, unseen)[0].word != "passed"
        fresh += signs_for(rng, landings(rng, people(rng, 48), 1)[0], 8, unseen)[0].word != "passed"
    assert clustered <= 13  # 7.5 expected at 5 %; more than 13 in 1 of 70 runs
    assert fresh <= clustered


def rows_of(values: Sequence[Attribute], split: str = "", who: str = "") -> list[Row]:
    return [
        Row(
            f"{split}{who}{i}", "", "CT", f"{who}{i // 2}" if who else "", split, not split, attributes={"value": value}
        )
        for i, value in enumerate(values)
    ]


def test_groups_are_what_was_asked_for() -> None:
    """Several labels in one image count for each; many numbers become thirds of the training images'; a value of no
    training image is a group too; sets without conditions have one group, all their images."""
    real = [*rows_of(["a", "a;b", "c", "c"] * 3, "train", "t"), *rows_of(["a", "b"] * 6, "test", "h")]
    who = [row.patient_id for row in real]
    made = rows_of(["a"] * 6 + ["a;b"] * 5 + ["d"] * 5 + ["c"] * 2)
    found = {group.name: group for group in groups_of(made, real, who)}
    assert set(found) == {"", "value=a", "value=b", "value=d"}  # two images of c say nothing
    assert [len(found[name].made) for name in ("", "value=a", "value=b", "value=d")] == [18, 11, 5, 5]
    assert [found[f"value={name}"].patients for name in "abd"] == [3, 3, 0]
    assert found[""].people == 6
    assert {found[f"value={name}"].people for name in "abd"} == {5}
    assert [group.name for group in groups_of(rows_of([None] * 9), real, who)] == [""]
    numbers = rows_of([float(i) for i in range(30)], "train", "t")
    scale = Labels.of("value", numbers)
    assert [scale(row) for row in rows_of([0.0, 15.0, 29.0, 99.0])] == [{"low"}, {"middle"}, {"high"}, {"high"}]


def test_values_of_the_same_images_are_one_group() -> None:
    """All images asked for one value: judged once, by that value's few patients; people count where real images name
    them, never where generated ones do."""
    real = [*rows_of(["a"] * 4 + ["b"] * 20, "train", "t"), *rows_of(["b"] * 24, "test", "h")]
    who = [row.patient_id for row in real]
    made = rows_of(["a"] * 8)
    (group,) = groups_of(made, real, who)
    assert (group.name, group.patients, group.people) == ("value=a", 2, 5)
    named = [replace(row, patient_id="x") for row in made]
    assert groups_of(named, real, who)[0].people == 5
    assert groups_of([replace(row, synthetic=False) for row in named], real, who)[0].people == 1


# --- Nearness to training people -------------------------------------------------------------------------------------


def close_to(rng: Generator, made: np.ndarray, centres: np.ndarray, images: np.ndarray, owner: np.ndarray) -> Closeness:
    """The closeness of vectors: people in both splits, three quarters of them for training."""
    trained = np.zeros(len(centres), dtype=bool)
    trained[rng.permutation(len(centres))[: len(centres) * 3 // 4]] = True

    def of_each(x: np.ndarray) -> np.ndarray:
        alike = -np.linalg.norm(x[:, None] - images, axis=2)
        return np.stack([alike[:, owner == i].max(axis=1) for i in range(len(centres))], axis=1)

    names = [str(i) for i in range(len(centres))]
    return Closeness(of_each(made), of_each(made) < -1, of_each(images), owner, range(len(owner)), names, trained, "x")


def crowd(rng: Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n people with six images each that are much alike: their centres, the images, whose they are."""
    centres = rng.normal(size=(n, 6))
    owner = np.repeat(np.arange(n), 6)
    return centres, centres[owner] + 0.2 * rng.normal(size=(6 * n, 6)), owner


def test_innocent_sets_are_nearer_by_chance_only(rng: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """New people's images, alike by six, and images nearer to everybody than any person is: 1 in 20 is called nearer to
    training people, while the plain Mann-Whitney test of C_T rejects most of the latter."""
    monkeypatch.setattr(nearness, "PERMUTATIONS", 199)
    called, plain, n = {"people": 0, "middling": 0}, 0, 120
    for _ in range(n):
        centres, images, owner = crowd(rng, 24)
        for kind in called:
            made = crowd(rng, 10)[1] * (1.0 if kind == "people" else 0.4)
            close = close_to(rng, made, centres, images, owner)
            called[kind] += nearness.sign_of(nearness_of(close), "CT").word != "passed"
            held = close.real[~close.trained[close.owner]][:, close.trained].max(axis=1)
            plain += (
                kind == "middling"
                and mannwhitneyu(close.made[:, close.trained].max(axis=1), held, alternative="greater").pvalue < 0.001
            )
    assert max(called.values()) <= 12  # 6 expected at 5 %; more than 12 in 1 of 120 runs
    assert plain > n / 2


def test_repeated_people_are_found(rng: Generator) -> None:
    """Images beside those of all training people fail: nearest to them almost always, C_T below -3; half of them among
    new people's are more than chance."""
    centres, images, owner = crowd(rng, 32)
    close = close_to(rng, images[:1], centres, images, owner)
    taught = images[close.trained[owner]]
    made = taught[rng.permutation(len(taught))[:80]] + 0.02 * rng.normal(size=(80, 6))
    repeated = replace(
        close,
        made=-np.stack(
            [np.linalg.norm(made[:, None] - images[owner == i], axis=2).min(axis=1) for i in range(32)], axis=1
        ),
        authentic=np.zeros((80, 32)),
    )
    found = nearness_of(repeated)
    sign = nearness.sign_of(found, "CT")
    assert sign.word == "failed"
    assert sign.nearest_share > 0.95
    assert sign.copying_z < -3
    assert "most images lie nearer to training people than chance gives" in sign.text
    scores = {score.name: score for score in nearness.scores_of(found, modality="CT")}
    assert scores["copying_z"].value == pytest.approx(sign.copying_z)
    null = scores["nearest_share"].null
    assert null is not None
    assert null.low < 0.75 < null.high < (scores["nearest_share"].value or 0)


def test_too_few_people_cannot_change_sides(rng: Generator) -> None:
    """One held-out person among twelve can be any of twelve: no p below 1/12, so that nothing is said, but why."""
    centres, images, owner = crowd(rng, 12)
    close = close_to(rng, images, centres, images, owner)
    with pytest.raises(ValueError, match="11 training and 1 held-out people can change sides in only 12 ways"):
        nearness_of(replace(close, trained=np.arange(12) > 0, owner=owner * (owner > 1)))
    assert nearness.unjudged("why", "MR").word == "undecided"


# --- One rule --------------------------------------------------------------------------------------------------------


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
    assert [graded(p, most) for p, most in ((0.05, True), (0.049, True), (0.049, False))] == [
        "passed",
        "failed",
        "look",
    ]


def test_pairs_of_all_modalities_are_drawn() -> None:
    """The most suspicious of each modality come first, however much likelier those of one are."""
    pair = Pair(
        modality="CT",
        synthetic="",
        similarity=0.9,
        correlation=None,
        training="a.png",
        patient="a",
        threshold=0.8,
        flagged=True,
        same_file=False,
        panel="CT",
        excess=0.5,
    )
    pairs = [replace(pair, panel=panel, synthetic=str(i)) for panel in ("CT", "MR") for i in range(30)]
    first = [(pair.panel, pair.synthetic) for pair in _in_turn(pairs)[:4]]
    assert first == [("CT", "0"), ("MR", "0"), ("CT", "1"), ("MR", "1")]


# --- The whole audit -------------------------------------------------------------------------------------------------

VALUES = {"one": 1, "two": 2, "five": 5, "ten": 10, "forty": 40}
SIDE = 64


def write_set(folder: Path, images: list[tuple[np.ndarray, str, str, Attribute]]) -> ImageSet:
    """An image set of CT slices: pixels, patient, split and value of each; those without a split are generated."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, (pixels, who, split, value) in enumerate(images):
        name = f"images/{i:04d}.png"
        digest = write_png(folder / name, pixels)
        rows.append(Row(name, digest, "CT", who, split, not split, attributes={"value": value}))
    write_metadata(folder, rows)
    return ImageSet.open(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """58 training people, of whom 1, 2, 5, 10 and 40 show a value each, and 16 held-out ones; two slices of each."""
    value_of = [name for name, n in VALUES.items() for _ in range(n)]
    images: list[tuple[np.ndarray, str, str, Attribute]] = []
    for number in range(74):
        patient = draw_patient(default_rng([1, number]), "CT")
        split, value = ("train", value_of[number]) if number < 58 else ("test", "forty")
        for k in range(2):
            level = patient.centre[2] + 9.0 * k
            pixels = draw_slice(default_rng([2, number, k]), patient, "axial", level, size=SIDE)[0]
            images.append((pixels, f"person-{number}", split, value))
    return write_set(tmp_path_factory.mktemp("by-patient") / "corpus", images)


@pytest.fixture(scope="module")
def redrawn(corpus: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """The audit of a "model" that for each value redraws that value's training images, turned by 2°, some mirrored."""
    rng, images = default_rng(3), []
    for value in VALUES:
        own = [i for i, row in enumerate(corpus.rows) if row.split == "train" and row["value"] == value]
        for k in range(10):
            pixels = moved(corpus.pixels(own[k % len(own)]).astype(float), degrees=float(rng.uniform(-2, 2)))
            images.append(
                (np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8)[:, :: -1 if k % 3 else 1]), "", "", value)
            )
    return audited(images, corpus, tmp_path_factory.mktemp("redrawn"))


def audited(images: list[tuple[np.ndarray, str, str, Attribute]], corpus: ImageSet, folder: Path) -> Findings:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phonybrains.evaluation.memorisation.unseen.MOST_TURNS", 40)
        kept = corpus.folder.parent / "kept"
        return memorisation_audit(write_set(folder / "made", images), corpus, EvaluateConfig(), folder=kept)


def words_of(found: Findings) -> dict[str, str]:
    """The word for each value."""
    return {sign.group.partition("=")[2]: sign.word for sign in found.facts.signs if sign.look == "patients"}


def test_a_model_that_redraws_one_patient_a_value_fails(redrawn: Findings) -> None:
    """Dose and response: values of one and two people fail by patient, mirrored and turned as their images are, and the
    more people a value has the more patients its images spread over."""
    words = words_of(redrawn)
    assert (words["one"], words["two"]) == ("failed", "failed")
    assert words["forty"] == "passed"
    effective = {
        score.group.partition("=")[2]: score.value
        for score in redrawn.scores
        if score.name == "effective_patients" and score.group
    }
    found = [effective[name] for name in VALUES]
    assert found == sorted(found)
    assert found[0] == pytest.approx(1, abs=0.3)
    assert redrawn.facts.status == "failed"
    assert "CT, value = one: one patient takes most of the 10 images" in redrawn.facts.sentence
    nearest = next(score for score in redrawn.scores if score.name == "nearest_share")
    assert (nearest.value or 0) > 0.9  # 58 people are redrawn in all


def test_a_model_that_mixes_passes(corpus: ImageSet, tmp_path: Path) -> None:
    """New heads under the same values: no sign but "passed", and nothing in the sentence speaks of failure."""
    images = [
        (draw_phantom(default_rng([9, i]), "CT", size=SIDE)[0], "", "", value)
        for i, value in enumerate(list(VALUES) * 10)
    ]
    found = audited(images, corpus, tmp_path)
    assert set(words_of(found).values()) == {"passed"}
    assert {sign.word for sign in found.facts.signs} == {"passed"}
    assert found.facts.sentence.endswith("The audit passed; flagged pairs are for a person to judge.")


def test_without_patients_the_verdict_says_what_it_cannot(corpus: ImageSet, tmp_path: Path) -> None:
    """The same new heads against the same corpus without patient ids: undecided, with the reason in the verdict."""
    rows = tuple(replace(row, patient_id="") for row in corpus.rows)
    images = [(draw_phantom(default_rng([9, i]), "CT", size=SIDE)[0], "", "", "forty") for i in range(10)]
    found = audited(images, replace(corpus, rows=rows), tmp_path)
    assert found.facts.status == "undecided"
    assert (
        "CT: spread over patients cannot be judged: 116 of 116 training images name no patient" in found.facts.sentence
    )


def test_closeness_sees_mirror_images(corpus: ImageSet, tmp_path: Path) -> None:
    """A mirrored training image is as close to its person as the image itself, and not authentic."""
    from phonybrains.evaluation.memorisation.search import ByRegistration

    mirrored = write_set(
        tmp_path / "m", [(np.ascontiguousarray(corpus.pixels(i)[:, ::-1]), "", "", "x") for i in (0, 9)]
    )
    search = ByRegistration.of(corpus.where(split="train"))
    close = closeness_of(search, mirrored, corpus, [i for i, row in enumerate(corpus.rows) if row.split == "test"])
    assert [close.names[i] for i in close.made.argmax(axis=1)] == ["person-0", "person-4"]
    assert close.made.max(axis=1) == pytest.approx(1, abs=1e-4)
    assert not close.authentic[[0, 1], close.made.argmax(axis=1)].any()
    assert (close.trained.sum(), close.held_out) == (58, 16)


def test_another_corpus_than_the_models_is_said(tiny_model: Path, phantom_corpus: Path, tmp_path: Path) -> None:
    """Images of a model, audited with the corpus it learnt from: nothing is said of it; with another one the verdict is
    undecided at best, since nobody knows what the model has seen."""
    samples = ImageSet.open(generate(tiny_model, tmp_path / "s", 4, steps=1, precision="fp32", show=False))
    own = memorisation_audit(samples, ImageSet.open(phantom_corpus), EvaluateConfig())
    assert not [sign for sign in own.facts.signs if sign.look == "corpus"]
    other = ImageSet.open(make_phantoms(48, tmp_path / "other", seed=5, size=64))
    found = memorisation_audit(samples, other, EvaluateConfig())
    (sign,) = [sign for sign in found.facts.signs if sign.look == "corpus"]
    assert "learnt from another corpus or other splits" in sign.text
    assert found.facts.status in ("undecided", "failed")


def test_the_command_exits_with_1_where_the_audit_fails(corpus: ImageSet, tmp_path: Path) -> None:
    """`audit` and `evaluate` of twelve copies of one patient's slice: 1, audit.json names the sign; the gate holds. Of
    phantoms that few real ones stand beside: undecided, 0."""
    images = [(np.roll(corpus.pixels(0), k - 6, axis=1), "", "", "one") for k in range(12)]
    samples = write_set(tmp_path / "made", images).folder
    command = [str(samples), "--against", str(corpus.folder), "--out"]
    (tmp_path / "quick.toml").write_text("[memorisation]\npairs = 2\n")
    assert app(["audit", *command, str(tmp_path / "a"), "--config", str(tmp_path / "quick.toml")]) == 1
    found = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert found["verdict"] == "failed"
    assert any("one patient takes most of the 12 images" in reason for reason in found["reasons"])
    assert {"copies", "patients", "nearness"} <= {sign["look"] for sign in found["signs"]}
    with pytest.raises(StudyError, match="failed its audit"):
        require_audit(samples)
    few = make_phantoms(6, tmp_path / "few", seed=4, size=64, modalities=("CT",))
    small = make_phantoms(12, tmp_path / "small", seed=3, size=64, modalities=("CT",), synthetic=False)
    assert (
        app(["evaluate", str(few), "--against", str(small), "--out", str(tmp_path / "b"), "--only", "memorisation"])
        == 0
    )
    assert json.loads((tmp_path / "b" / "audit.json").read_text())["verdict"] == "undecided"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", 'he said "x,\n\ny"', "\n\n"])
def test_a_line_break_in_a_cell_is_no_image(text: str, tmp_path: Path) -> None:
    """An attribute that holds line breaks and quotes leaves a passed audit passed: rows are counted, not lines."""
    samples = make_phantoms(4, tmp_path / "samples", size=16, modalities=("CT",))
    rows = [replace(row, attributes={"revised_prompt": text}) for row in ImageSet.open(samples).rows]
    write_metadata(samples, rows)
    with (samples / "metadata.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 5
    facts = {"status": "passed", "audit": {"CT": {"n": 4, "exceedances": 0, "threshold": 0.5, "p": 1.0}}}
    write_audit(tmp_path, samples, samples, facts, "0")
    assert audit_status(samples).verdict == "passed"


def test_a_look_opens_the_gate_with_a_warning_and_an_older_rule_does_not(tmp_path: Path) -> None:
    """look: shown, with the reason; what an earlier version called passed is no audit of this rule."""
    samples = make_phantoms(4, tmp_path / "samples", size=16, modalities=("CT",))
    sign = Sign("nearness", "look", "CT", "CT: nearer to training people than chance gives")
    numbers = {"n": 4, "exceedances": 0, "threshold": 0.5, "p": 1.0}
    facts = {"status": "look", "signs": [asdict(sign)], "audit": {"CT": numbers}}
    path = write_audit(tmp_path, samples, samples, facts, "0")
    status = require_audit(samples)
    assert (status.verdict, status.passed, status.opens) == ("look", False, True)
    assert status.sentence.endswith("look, 0 of 4 flagged; CT: nearer to training people than chance gives")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))
    with pytest.raises(StudyError, match="not an audit of version 2"):
        audit_status(samples, [path])
