"""`study design`: which cases are chosen, how they are encoded, and what is refused before anything is written."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonybrains.errors import ConfigError, OutputError, PhonyBrainsError, StudyError
from phonybrains.imageset import ImageSet, Row, write_metadata
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.analyse import analyse_study
from phonybrains.readerstudy.config import load_study_config
from phonybrains.readerstudy.design.encode import StoredImage, encode, shuffle_tiles
from phonybrains.readerstudy.design.history import apply_history, parse_history
from phonybrains.readerstudy.design.ladder import CLEAR, LADDER
from phonybrains.readerstudy.design.match import apportion
from phonybrains.readerstudy.design.order import fillers_for, presentations
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.import_answers import import_answers
from phonybrains.readerstudy.simulate import simulate_study
from phonybrains.readerstudy.study import Study, protocol_hash
from tests.support.study_files import rewritten_pixels, small_config

pytestmark = pytest.mark.usefixtures("remembered_features")


def design(sets: tuple[Path, Path], out: Path, **config: Any) -> Study:
    return Study.open(design_study([sets[0]], sets[1], out, small_config(**config), show=False))


def sides(**each: int) -> dict[str, Any]:
    """So many synthetic and as many real cases of each modality."""
    return {"synthetic": each, "real": each}


def test_folders_may_be_words(sets: tuple[Path, Path], study: Study, tmp_path: Path) -> None:
    """From Python, all paths of a study may be strings: what comes of them is the same."""
    synthetic, real = map(str, sets)
    toml, out = tmp_path / "study.toml", str(tmp_path / "study")
    toml.write_text("seed = 11\n")
    assert load_study_config("controlled", str(toml)).seed == 11
    made = design_study([synthetic], real, out, small_config(seed=7), show=False)
    assert Study.open(made).hash == study.hash
    with pytest.raises(StudyError, match="has no audit"):
        design_study([synthetic], real, str(tmp_path / "other"), small_config(), show=False, evaluations=[synthetic])
    simulate_study(out, readers=2, seed=1, show=False)
    report = analyse_study(out, str(tmp_path / "report"), show=False)
    assert (report / "report.html").is_file()
    with pytest.raises(StudyError, match="cannot be read"):
        import_answers(out, str(tmp_path / "answers.csv"), show=False)


def rewritten(folder: Path, out: Path, change: Callable[[int, Row], Row | None]) -> Path:
    """A copy of a set with its rows changed; None leaves a row out."""
    shutil.copytree(folder, out)
    rows = [change(i, row) for i, row in enumerate(ImageSet.open(folder).rows)]
    write_metadata(out, [row for row in rows if row is not None])
    return out


def test_the_same_seed_gives_the_same_bytes(sets: tuple[Path, Path], study: Study, tmp_path: Path) -> None:
    """Images, cases and hash are equal; another seed gives other names and another hash."""
    again, other = (design(sets, tmp_path / str(seed), seed=seed) for seed in (7, 8))
    assert study.hash == again.hash != other.hash
    assert (study.folder / "cases.csv").read_bytes() == (again.folder / "cases.csv").read_bytes()
    assert all(study.image_bytes(case_id) == again.image_bytes(case_id) for case_id in study.cases)
    assert not set(study.cases) & set(other.cases)


def test_a_seed_that_is_not_given_is_drawn_and_kept(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """Two designs without a seed differ, and each protocol holds its own. No controls: a gate that is not asked."""
    config = load_study_config("paper", synthetic={"MR": 4, "CT": 4})
    one, two = (Study.open(design_study([sets[0]], None, tmp_path / name, config, show=False)) for name in "12")
    assert one.seed != two.seed
    assert one.protocol["config"]["seed"] == one.seed


def test_nothing_about_a_file_tells_what_it_is(study: Study) -> None:
    """Names are 16 hex digits in the order of cases.csv; all files have one length and one time."""
    names = list(study.cases)
    files = sorted((study.folder / "images").iterdir())
    assert [file.name for file in files] == [f"{name}.i16" for name in names] == sorted(f"{n}.i16" for n in names)
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)
    assert {file.stat().st_size for file in files} == {2 * 64 * 64}
    assert len({file.stat().st_mtime_ns for file in files}) == 1
    assert len({(c.modality, c.slope, c.intercept, c.unit) for c in study.cases.values()}) == 2


def test_cases_are_as_many_as_asked_and_none_is_used_twice(study: Study) -> None:
    """Test cases by arm and modality, training cases of both truths, phony checks, each source image once."""
    cases = Counter((c.role, c.truth, c.modality) for c in study.cases.values())
    assert all(cases["test", truth, m] == 6 for truth in ("real", "phony") for m in ("MR", "CT"))
    real, phony = (sum(cases["training", truth, m] for m in ("MR", "CT")) for truth in ("real", "phony"))
    assert (real, phony) in [(1, 3), (2, 2), (3, 1)]
    assert sum(cases["check", "phony", m] for m in ("MR", "CT")) == 2
    used = Counter((c.source, c.arm in ("real", "check")) for c in study.cases.values())
    assert set(used.values()) == {1}


def test_controls_follow_the_planes_and_come_from_different_patients(study: Study) -> None:
    """MR controls have the synthetic cases' planes; with 20 patients a modality no patient comes twice."""
    planes = [
        Counter(c.attributes["plane"] for c in study.of_role("test") if c.modality == "MR" and c.truth == truth)
        for truth in ("real", "phony")
    ]
    assert planes[0] == planes[1]
    assert len(planes[0]) == 3
    patients = Counter(c.patient_id for c in study.cases.values() if c.arm == "real")
    assert max(patients.values()) == 1, "test and training cases of one patient"
    assert not any("matched" in warning for warning in study.protocol["warnings"])


def test_what_cannot_be_matched_is_said(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """An attribute that one side lacks, and a stratum that one side has not, are warnings, not silence."""

    def only_axial(_: int, row: Row) -> Row | None:
        return None if row.modality == "MR" and row["plane"] != "axial" else row

    def no_axial(_: int, row: Row) -> Row | None:
        return None if row.modality == "MR" and row["plane"] == "axial" else row

    real = rewritten(sets[1], tmp_path / "axial", only_axial)
    synthetic = rewritten(sets[0], tmp_path / "other", no_axial)
    wanted = {"match": ["plane", "handedness"], "training": 0, "checks": 0, "repeats": {"share": 0}}
    study = design((synthetic, real), tmp_path / "study", **wanted, **sides(MR=4, CT=6))
    text = " ".join(study.protocol["warnings"])
    assert "'handedness' could not be matched: the synthetic and the real images do not have it" in text
    assert "MR: Real and phony could not be matched in all strata" in text
    assert "plane axial: 0 phony, 4 real" in text


def test_controls_without_patients_are_reported(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """A real set whose patient_id is empty is used, and the protocol says that it is not patient-safe."""
    real = rewritten(sets[1], tmp_path / "nobody", lambda _, row: replace(row, patient_id=""))
    warnings = design((sets[0], real), tmp_path / "study").protocol["warnings"]
    assert any("MR: of 6 controls, 6 have no patient_id" in w and "not patient-safe" in w for w in warnings)


def test_the_test_split_alone_gives_controls(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """Without split = any, controls come from the test split."""
    real = {row.file_name: row.split for row in ImageSet.open(sets[1]).rows}
    study = design(sets, tmp_path / "study", split="test", repeats={"share": 0}, **sides(MR=3, CT=3))
    assert {real[c.source] for c in study.of_role("test") if c.truth == "real"} == {"test"}


def test_several_arms_have_names_of_their_own(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """Two sets in folders of one name, and one that a model made: each an arm, duplicates with a number."""
    again = make_phantoms(80, tmp_path / "b" / "samples", seed=3, size=64)
    made = shutil.copytree(make_phantoms(80, tmp_path / "c" / "x", seed=4, size=64), tmp_path / "c" / "made")
    record = json.loads((made / "record.json").read_text()) | {"stage": "generate", "inputs": [{"name": "heads"}]}
    (made / "record.json").write_text(json.dumps(record))
    out = design_study(
        [sets[0], again, made], sets[1], tmp_path / "study", small_config(accept_unaudited=True), show=False
    )
    cases = Study.open(out).of_role("test")
    assert Counter(c.arm for c in cases) == {"samples": 12, "samples 2": 12, "heads": 12, "real": 12}
    inputs = json.loads((out / "record.json").read_text())["inputs"]
    assert [origin["name"] for origin in inputs] == ["samples", "samples", "made", "corpus"]


def test_the_papers_preset_needs_no_real_set(tmp_path: Path) -> None:
    """20 MR and 20 CT, all synthetic, of 256 × 256: 40 files of 131,072 bytes, and the gate says it cannot tell."""
    samples = make_phantoms(40, tmp_path / "samples", size=256, slices_per_patient=1)
    config = load_study_config("paper", seed=1)
    study = Study.open(design_study([samples], None, tmp_path / "study", config, show=False))
    cases = Counter((c.role, c.truth, c.modality) for c in study.cases.values())
    assert cases == {("test", "phony", m): 20 for m in ("MR", "CT")}
    assert {len(study.image_bytes(case_id)) for case_id in study.cases} == {131_072}
    assert study.protocol["leakage"]["gate"] == "not applicable"
    assert {c.unit for c in study.cases.values() if c.modality == "CT"} == {"HU"}


def test_design_gives_the_same_study_back_and_spares_what_is_there(sets: tuple[Path, Path], study_folder: Path) -> None:
    """The same call again changes nothing; another call into the same folder is refused."""
    before = (study_folder / "protocol.json").read_bytes()
    design(sets, study_folder)
    with pytest.raises(OutputError, match="already exists"):
        design(sets, study_folder, seed=9)
    assert (study_folder / "protocol.json").read_bytes() == before


def synthetic_as_real(sets: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return sets[0], make_phantoms(80, tmp_path / "not-real", seed=5, size=64)


def real_as_synthetic(sets: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return make_phantoms(80, tmp_path / "not-synthetic", seed=5, size=64, synthetic=False), sets[1]


def other_size(sets: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return make_phantoms(8, tmp_path / "small", seed=5, size=48), sets[1]


def sixteen_bit(sets: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return rewritten_pixels(sets[0], tmp_path / "deep", lambda pixels: pixels.astype(np.uint16) * 257), sets[1]


def same_file(sets: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return sets[0], rewritten(sets[0], tmp_path / "copy", lambda _, row: replace(row, synthetic=False))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (synthetic_as_real, r"metadata\.csv, row 2: a synthetic image in the set that was given as real"),
        (real_as_synthetic, r"metadata\.csv, row 2: a real image in the set that was given as synthetic"),
        (other_size, r"holds 64×64 images of 8 bit.*48×48 of 8 bit.*--size"),
        (sixteen_bit, r"holds 64×64 images of 8 bit.*64×64 of 16 bit.*--bits"),
        (same_file, r"row 2: images/000000\.png has the pixels of images/000000\.png of .*copy"),
    ],
)
def test_sets_that_do_not_fit_are_refused(
    sets: tuple[Path, Path], tmp_path: Path, make: Callable[..., tuple[Path, Path]], said: str
) -> None:
    """What is wrong, in which file, and nothing is written."""
    with pytest.raises(StudyError, match=said):
        design(make(sets, tmp_path), tmp_path / "study")
    assert not (tmp_path / "study").exists()
    assert not list(tmp_path.glob(".study*"))


@pytest.mark.parametrize(
    ("config", "kind", "said"),
    [
        ({"real": {"MR": 60, "CT": 6}}, StudyError, r"corpus: 40 different MR images for 60 controls \(split any\)"),
        ({"split": "test"}, StudyError, r"corpus: 4 different MR images for 6 controls \(split test\).*split = 'any'"),
        ({"synthetic": {"MR": 41}}, StudyError, r"samples: 40 different MR images for 41 cases"),
        ({"synthetic": {"PT": 1}}, StudyError, r"samples: 0 different PT images for 1 case"),
        ({"training": 150}, StudyError, r"no (MR|CT) image is left for training case"),
        ({"checks": 70}, StudyError, r"corpus: no (MR|CT) image is left for check case"),
        ({"synthetic": {}}, ConfigError, r"at least one synthetic case"),
        ({"real": {}}, ConfigError, r"plan\.primary = 'auc' needs real controls"),
        ({"repeats": {"share": 0.5, "least": 0, "gap": 20}}, ConfigError, r"repeats: 12 cases .*20 presentations"),
        ({"same_history": ["gif:3"]}, ConfigError, r"'gif:3' is not known. Known: jpeg"),
        ({"same_history": ["jpeg:0"]}, ConfigError, r"'jpeg:0': after jpeg: comes a whole number from 1 to 100"),
        ({"same_history": ["blur"]}, ConfigError, r"'blur': after blur: comes a number"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    sets: tuple[Path, Path], tmp_path: Path, config: dict[str, Any], kind: type[PhonyBrainsError], said: str
) -> None:
    """Fewer images than asked, or a plan that contradicts itself: what is missing where, and nothing is written."""
    with pytest.raises(kind, match=said):
        design(sets, tmp_path / "study", **config)
    assert not (tmp_path / "study").exists()


def test_controls_without_a_real_set_are_refused(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """The default plan asks for controls, training cases and checks; without --real the error names all three."""
    with pytest.raises(ConfigError, match="controls and training and checks are made of real images"):
        design_study([sets[0]], None, tmp_path / "study", small_config(), show=False)


@pytest.fixture(scope="module")
def framed(sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Synthetic images with a black border, and real ones without."""
    folder = tmp_path_factory.mktemp("framed") / "samples"
    return rewritten_pixels(sets[0], folder, lambda pixels: np.pad(pixels[3:-3, 3:-3], 3)), sets[1]


MORE: dict[str, Any] = sides(MR=14, CT=6) | {"training": 0, "checks": 0}


def test_a_leak_under_steps_that_were_given_stops_the_design(framed: tuple[Path, Path], tmp_path: Path) -> None:
    """Where the steps are given and leave a trace, the error names it and the weakest steps that close it; nothing is
    written. The steps it names pass."""
    with pytest.raises(
        StudyError, match=r"MR: '.+' tells phony from real .*Try --same-history (.+), or import"
    ) as said:
        design(framed, tmp_path / "study", **MORE, same_history=["none"])
    assert not (tmp_path / "study").exists()
    proposed = str(said.value).partition("--same-history ")[2].partition(",")[0].split()
    study = design(framed, tmp_path / "study", **MORE, same_history=proposed)
    assert study.protocol["leakage"]["gate"] == "passed"
    assert "tried" not in study.protocol["leakage"]


def test_the_weakest_steps_that_close_a_leak_are_found_and_told(
    framed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without steps given, those of the first rung of the ladder that leaves nothing below p = 0.1 are applied to both
    sides, frozen in the configuration, and told on screen, in the protocol with every rung tried, and on its page."""
    config = small_config(**MORE).model_copy(update={"same_history": None})
    study = Study.open(design_study([framed[0]], framed[1], tmp_path / "study", config))
    chosen = study.config.same_history
    assert chosen in LADDER
    tried = [tuple(rung["same_history"]) for rung in study.protocol["leakage"]["tried"]]
    assert tried == [(), *LADDER[: LADDER.index(chosen) + 1]]
    assert all(rung["p"] <= CLEAR for rung in study.protocol["leakage"]["tried"][:-1])
    assert study.protocol["leakage"]["tried"][-1]["p"] > CLEAR
    screen, page = capsys.readouterr().err, (study.folder / "protocol.html").read_text()
    for text in (screen, page):
        assert f"go through {', '.join(chosen)}" in text
    assert all(" ".join(rung) in page for rung in tried)


def test_innocent_sets_stay_as_they_are(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """Without a trace no step is applied: the pixels are those of the files."""
    config = small_config().model_copy(update={"same_history": None})
    study = Study.open(design_study([sets[0]], sets[1], tmp_path / "study", config, show=False))
    assert study.config.same_history == ()
    assert study.protocol["leakage"]["tried"] == []
    case = study.of_role("test")[0]
    images = ImageSet.open(sets[1] if case.truth == "real" else sets[0])
    index = next(i for i, row in enumerate(images.rows) if row.file_name == case.source)
    np.testing.assert_array_equal(study.pixels(case.case_id), images.pixels(index))


def test_fillers_are_chosen_as_far_as_images_last(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """As many phony as real fillers of each modality, none used elsewhere; the protocol counts what a reader sees.
    Where images do not last, a warning says by how much the next truth could be guessed."""
    study = design(sets, tmp_path / "study", fillers=None, training=0, checks=0)
    fillers = Counter((c.modality, c.truth) for c in study.of_role("filler"))
    assert set(fillers.values()) == {fillers_for(6, 6)}
    assert study.protocol["counts"]["filler"] == 2 * fillers_for(6, 6)
    few = rewritten(sets[0], tmp_path / "few", lambda i, row: row if i % 40 < 7 or row.modality == "MR" else None)
    available = Counter(row.modality for row in ImageSet.open(few).rows)["CT"]
    study = design((few, sets[1]), tmp_path / "two", fillers=None, training=0, checks=0)
    assert Counter(c.modality for c in study.of_role("filler"))["CT"] == 2 * min(available - 6, fillers_for(6, 6))
    assert any("CT: who is told the truth" in w for w in study.protocol["warnings"])


def test_blocks_are_refused_in_new_studies_and_read_in_old_ones(
    sets: tuple[Path, Path], study_folder: Path, tmp_path: Path
) -> None:
    """The key of older configurations is named with what to do; a protocol frozen with it still gives its order."""
    with pytest.raises(ConfigError, match=r"block: the order no longer comes in blocks.*Leave the key out"):
        design(sets, tmp_path / "study", block=8)
    path = study_folder / "protocol.json"
    study, protocol = Study.open(study_folder), json.loads(path.read_text())
    protocol["config"] |= {"block": 2}
    del protocol["config"]["fillers"]
    path.write_text(json.dumps(protocol | {"hash": protocol_hash(protocol)}))
    old = Study.open(study.folder)
    assert presentations(old, "reader 1") != presentations(study, "reader 1")
    kinds = Counter(p.kind for p in presentations(old, "reader 1"))
    assert kinds == {"training": 4, "test": 24, "repeat": 4, "check": 2}


# --- The encoder -----------------------------------------------------------------------------------------------------


def picture(
    pixels: np.ndarray[Any, Any], slope: float = 1.0, intercept: float = 0.0, unit: str = "a.u."
) -> StoredImage:
    return StoredImage(Row("x.png", "", "CT", slope=slope, intercept=intercept, unit=unit), pixels)


def test_shared_hounsfield_units_are_kept_exactly() -> None:
    """16-bit pixels of one calibration: value = slope · int16 + intercept gives the stored value, over all 65,536."""
    pixels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    (image,), encoding, warnings = encode([picture(pixels, 0.5, -1024, "HU")])
    np.testing.assert_array_equal(image * encoding.slope + encoding.intercept, pixels * 0.5 - 1024)
    assert (encoding.unit, warnings) == ("HU", [])


def test_different_calibrations_meet_on_one_grid() -> None:
    """The same HU stored in two ways come out as the same int16."""
    hu = np.arange(-1000, 1000, 2).reshape(40, 25)
    one = picture((hu + 1024).astype(np.uint16), 1, -1024, "HU")
    two = picture(((hu + 2000) // 2).astype(np.uint16), 2, -2000, "HU")
    (a, b), encoding, _ = encode([one, two])
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a * encoding.slope + encoding.intercept, hu, atol=0.5)


def test_mixed_units_fall_back_to_stored_pixels_with_a_warning() -> None:
    """HU on one side only would tell the truth, so that both lose them."""
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (a, b), encoding, warnings = encode([picture(pixels, 80 / 255, 0, "HU"), picture(pixels)])
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, pixels)
    assert (encoding.slope, encoding.intercept, encoding.unit) == (1, 0, "a.u.")
    assert "without HU windows" in warnings[0]


def test_history_steps_come_in_order_and_do_what_they_say() -> None:
    """resize changes the size, blur smooths, frame blackens, floor and ceiling clip, jpeg leaves its steps;
    order matters."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 64)).astype(np.int16)

    def after(*steps: str) -> np.ndarray[Any, Any]:
        return apply_history(parse_history(steps), pixels, 0, 255)

    np.testing.assert_array_equal(after(), pixels)
    assert after("resize:48").shape == (48, 48)
    assert after("blur:1").std() < 0.5 * pixels.std()
    assert not after("frame:4")[:4].any()
    np.testing.assert_array_equal(after("floor:100"), np.maximum(pixels, 100))
    np.testing.assert_array_equal(after("floor:9", "ceiling:200"), np.clip(pixels, 9, 200))
    assert 0 < np.abs(after("jpeg:75") - pixels).max() < 128
    assert not np.array_equal(after("jpeg:30", "blur:1"), after("blur:1", "jpeg:30"))


@given(seed=st.integers(0, 1000), side=st.integers(16, 50))
def test_checks_are_the_same_pixels_in_other_places(seed: int, side: int) -> None:
    """A shuffled image has the same pixels; no tile stays where it was."""
    image = np.arange(side * side, dtype=np.int16).reshape(side, side)
    shuffled = shuffle_tiles(image, np.random.default_rng(seed))
    assert sorted(shuffled.ravel()) == sorted(image.ravel())
    covered = side // 4 * 4
    assert not (shuffled == image)[:covered, :covered].any()


@given(
    weights=st.dictionaries(st.tuples(st.sampled_from("abcde")), st.integers(1, 30), min_size=1),
    caps=st.dictionaries(st.tuples(st.sampled_from("abcde")), st.integers(0, 30)),
    share=st.floats(0, 1),
)
def test_shares_are_proportional_within_the_caps(
    weights: dict[tuple[str], int], caps: dict[tuple[str], int], share: float
) -> None:
    """All are shared out; no cap is passed while another stratum has room; without caps shares are within one."""
    n = int(share * sum(weights.values()))
    quota = apportion(n, weights, caps)
    assert sum(quota.values()) == n
    if sum(caps.values()) >= n:
        assert all(number <= caps.get(name, 0) for name, number in quota.items())
    free = apportion(n, weights, weights)
    assert all(abs(free.get(name, 0) - n * w / sum(weights.values())) < 1 for name, w in weights.items())


def test_cases_csv_says_where_each_image_comes_from(sets: tuple[Path, Path], study: Study) -> None:
    """Every case leads back to a file of its set, and its pixels are that file's."""
    corpora = {"samples": ImageSet.open(sets[0]), "real": ImageSet.open(sets[1])}
    with (study.folder / "cases.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] != "check"]
    assert len(rows) == 28
    for row in rows:
        images = corpora[row["arm"]]
        index = next(i for i, r in enumerate(images.rows) if r.file_name == row["source"])
        np.testing.assert_array_equal(study.pixels(row["case_id"]), images.pixels(index))
