"""The leakage gate: planted leaks are found and named, innocent studies pass."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench.study_traces import TRACES, Trace, jpeg
from phonybrains.errors import StudyError
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.config import StudyConfig
from phonybrains.readerstudy.design.encode import EncodedCase
from phonybrains.readerstudy.design.history import apply_history, parse_history
from phonybrains.readerstudy.design.leakage import LEVEL, check_leakage
from phonybrains.readerstudy.design.leakage_comparison import FeatureTable, compare
from phonybrains.readerstudy.study import Case
from tests.support.places import SHARED

Pixels = NDArray[np.int16]
Change = Callable[[Pixels], Pixels]
Resampling = Image.Resampling
N = 14  # cases a side


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Pixels]]:
    """28 phantoms of 128 × 128 of each modality."""
    folder = tmp_path_factory.mktemp("gate") / "set"
    found = ImageSet.open(make_phantoms(4 * N, folder, seed=3, size=128, slices_per_patient=1))
    return {
        modality: [found.pixels(i).astype(np.int16) for i, row in enumerate(found.rows) if row.modality == modality]
        for modality in ("MR", "CT")
    }


@pytest.fixture(scope="module")
def images(pictures: dict[str, list[Pixels]]) -> list[Pixels]:
    return pictures["MR"]


def cases_of(images: Sequence[Pixels], arms: Sequence[str], modality: str = "MR") -> list[EncodedCase]:
    rng = np.random.default_rng(0)
    return [
        EncodedCase(
            Case(rng.bytes(8).hex(), "", "test", "real" if arm == "real" else "phony", arm, modality, 1, 0, "a.u.", ""),
            image,
        )
        for image, arm in zip(images, arms, strict=True)
    ]


def planted(images: Sequence[Pixels], change: Change, modality: str = "MR") -> list[EncodedCase]:
    """A study whose first half is phony and was changed."""
    return cases_of([*map(change, images[:N]), *images[N:]], ["model"] * N + ["real"] * N, modality)


def bytes_of(values: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.int16)


def resized(kernel: Image.Resampling) -> Change:
    """Made smaller and, with this kernel, as large as before."""

    def change(pixels: Pixels) -> Pixels:
        small = Image.fromarray(pixels.astype(np.float32)).resize((100, 100), Resampling.LANCZOS)
        return bytes_of(np.asarray(small.resize((128, 128), kernel)))

    return change


KERNELS = (Resampling.NEAREST, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS)
OTHERS: dict[str, Trace] = {
    "a grey level missing": lambda p, _: np.where(p == 60, np.int16(61), p),
    "JPEG 75": lambda p, _: jpeg(p, 75),
    "JPEG 90": lambda p, _: jpeg(p, 90),
    **{f"{kernel.name.lower()} kernel": lambda p, _, kernel=kernel: resized(kernel)(p) for kernel in KERNELS},
}


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_an_innocent_study_passes(pictures: dict[str, list[Pixels]], modality: str) -> None:
    """Phantoms on both sides: nothing is refused, every comparison is reported with its interval."""
    found = check_leakage(planted(pictures[modality], lambda pixels: pixels, modality), StudyConfig(seed=1))
    assert found["gate"] == "passed"
    assert min(row["p"] for row in found["encoding"]) > 0.01
    assert all(row["low"] <= row["auc"] <= row["high"] for row in found["encoding"] + found["statistics"])
    assert found["benchmark"][0]["low"] < 0.5


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("name", [*TRACES, *OTHERS])
def test_a_planted_trace_is_refused(pictures: dict[str, list[Pixels]], name: str, modality: str) -> None:
    """Each way of storing that one side alone went through is refused in either modality, with an AUC and what to do;
    where it changes no pixel (a black border on black air) it is none, and the study passes."""
    rng, trace = np.random.default_rng(1), (TRACES | OTHERS)[name]
    changed = [trace(pixels, rng) for pixels in pictures[modality][:N]]
    cases = cases_of([*changed, *pictures[modality][N:]], ["model"] * N + ["real"] * N, modality)
    touched = sum(not np.array_equal(*pair) for pair in zip(changed, pictures[modality][:N], strict=True))
    if 0 < touched < N - 2:
        pytest.skip(f"it changes {touched} of {N} images, which is no trace that all share")
    if not touched:
        assert check_leakage(cases, StudyConfig(seed=1))["gate"] == "passed"
    else:
        with pytest.raises(StudyError, match=rf"{modality}: '.+' tells phony from real .*AUC [01]\.\d\d .*Import both"):
            check_leakage(cases, StudyConfig(seed=1))


def test_another_kernel_on_either_side_is_refused(images: list[Pixels]) -> None:
    """Both sides resized, one bilinear, the other Lanczos: still told apart."""
    changed = [resized(Resampling.BILINEAR)(i) for i in images[:N]] + [
        resized(Resampling.LANCZOS)(i) for i in images[N:]
    ]
    with pytest.raises(StudyError, match="resampling"):
        check_leakage(cases_of(changed, ["model"] * N + ["real"] * N), StudyConfig(seed=1))


def test_the_order_of_files_is_refused_where_it_tells(images: list[Pixels]) -> None:
    """Names that sort phony before real are a leak."""
    cases = [
        replace(encoded, case=replace(encoded.case, case_id=f"{i:016x}"))
        for i, encoded in enumerate(planted(images, lambda pixels: pixels))
    ]
    with pytest.raises(StudyError, match="position in the order of files"):
        check_leakage(cases, StudyConfig(seed=1))


def test_the_size_of_files_is_refused_where_it_tells(images: list[Pixels]) -> None:
    """Phony images a row larger than real ones are a leak by their size."""
    with pytest.raises(StudyError, match=r"(size of the file|height)"):
        check_leakage(planted(images, lambda pixels: np.concatenate([pixels, pixels[-1:] + 1])), StudyConfig(seed=1))


@pytest.mark.parametrize("field", ["slope", "intercept"])
def test_calibration_is_refused_where_it_tells(images: list[Pixels], field: str) -> None:
    """What stands beside the pixels counts too."""
    cases = [
        replace(encoded, case=replace(encoded.case, **{field: 1.5})) if encoded.case.truth == "phony" else encoded
        for encoded in planted(images, lambda pixels: pixels)
    ]
    with pytest.raises(StudyError, match=f"'?{field}'?"):
        check_leakage(cases, StudyConfig(seed=1))


def test_one_arm_alone_is_found(images: list[Pixels]) -> None:
    """Two arms, one of them went through JPEG: that arm is named."""
    arms = ["good", "bad"] * (N // 2) + ["real"] * N
    changed = [jpeg(image, 75) if arm == "bad" else image for image, arm in zip(images, arms, strict=True)]
    with pytest.raises(StudyError, match=r"arm (bad|all)\)"):
        check_leakage(cases_of(changed, arms), StudyConfig(seed=1))


def test_the_same_last_step_closes_the_leak(images: list[Pixels]) -> None:
    """Flat air on one side is refused, and passes when both sides went through floor:24 after it."""
    config, rng = StudyConfig(seed=1, same_history=("floor:24",)), np.random.default_rng(0)
    cases = planted(images, lambda pixels: TRACES["flat air"](pixels, rng))
    with pytest.raises(StudyError, match="Import both sets the same way"):
        check_leakage(cases, StudyConfig(seed=1))
    steps = parse_history(config.same_history or ())
    closed = [replace(encoded, image=apply_history(steps, encoded.image, 0, 255)) for encoded in cases]
    assert check_leakage(closed, config)["gate"] == "passed"


def softer(pixels: Pixels) -> Pixels:
    """Smoothed where the head is; the background stays as it was."""
    from scipy.ndimage import gaussian_filter

    return np.where(pixels < 30, pixels, bytes_of(gaussian_filter(pixels.astype(np.float32), 0.8))).astype(np.int16)


def test_noise_is_no_leak_but_is_reported(images: list[Pixels]) -> None:
    """Softer phony images are image statistics: the study goes on, the warning and the benchmark say it."""
    found = check_leakage(planted(images, softer), StudyConfig(seed=1))
    assert found["gate"] == "passed"
    assert found["benchmark"][0]["low"] > 0.7
    assert any("sharpness" in warning or "high band" in warning for warning in found["warnings"])


def test_without_controls_the_gate_says_that_it_cannot_tell(images: list[Pixels]) -> None:
    """All synthetic: nothing to compare with, and the warning says so."""
    found = check_leakage(cases_of(images, ["model"] * 2 * N), StudyConfig(seed=1))
    assert found["gate"] == "not applicable"
    assert "no real controls" in found["warnings"][0]


def noise_table(rng: np.random.Generator, patients: NDArray[np.int64], arm: int) -> FeatureTable:
    """30 features of noise, each image near its patient's own, some with many ties; the first `arm` images phony."""
    people = rng.standard_normal((30, int(patients.max()) + 1))
    values = 0.9 * people[:, patients] + 0.4 * rng.standard_normal((30, len(patients)))
    values[::3] = np.maximum(values[::3], 0.8)
    phony = np.arange(len(patients)) < arm
    crops = values[:10].T + rng.standard_normal((len(patients), 10))
    return FeatureTable("MR", "all", tuple(map(str, range(30))), values, phony, patients, crops)


@pytest.mark.parametrize("each", [(1, 1), (4, 4), (1, 4)], ids=["one", "four", "one and four"])
def test_chance_alone_refuses_one_study_in_a_hundred(each: tuple[int, int]) -> None:
    """300 studies of 20 + 20 cases, one or four images of a patient on either side: 1 % refused, within chance; the
    same with images for patients would refuse most where a patient has four."""
    rng = np.random.default_rng(5)
    phony, real = (np.arange(20) // n for n in each)
    patients = np.concatenate([phony, phony.max() + 1 + real])
    refused = [min(c.p for c in compare([noise_table(rng, patients, 20)], rng, 499)) <= LEVEL for _ in range(300)]
    assert sum(refused) <= 10  # 99.9 % of what a true 1 % gives
    if each == (4, 4):
        alone = [replace(noise_table(rng, patients, 20), units=np.arange(40)) for _ in range(20)]
        assert sum(min(c.p for c in compare([table], rng, 499)) <= LEVEL for table in alone) > 10


def test_several_images_of_a_patient_count_once() -> None:
    """A feature that tells two patients of phony images from two of real ones, ten images each, is no proof."""
    patients, rng = np.repeat(np.arange(4), 10), np.random.default_rng(0)
    table = replace(noise_table(rng, patients, 20), values=np.repeat([0.0, 1.0], 20)[None], names=("one",))
    assert min(c.p for c in compare([table], rng, 499)) > 0.3


REAL = SHARED / "data"


def real_images(modality: str, number: int) -> list[Pixels]:
    """Real images of as many people, each once, as import makes them."""
    folder = REAL / {"MR": "brain-mri", "CT": "head-ct"}[modality]
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["patient_id"]: row["file_name"] for row in csv.DictReader(file)}
    names = [folder / (name if "/" in name else f"images/{name}") for name in list(rows.values())[:number]]
    loaded = [np.asarray(Image.open(name).convert("L").resize((256, 256), Resampling.HAMMING)) for name in names]
    return [pixels.astype(np.int16) for pixels in loaded]


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images in ../shared/data")
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_real_images_pass_until_a_trace_is_planted(modality: str) -> None:
    """People against other people pass; with dithered air, a top plateau, a watermark, even levels, a vignette and
    JPEG in the air on one side, each is refused."""
    images, rng = real_images(modality, 2 * N), np.random.default_rng(2)
    arms = ["model" if i % 2 else "real" for i in range(2 * N)]
    assert check_leakage(cases_of(images, arms, modality), StudyConfig(seed=1))["gate"] == "passed"
    for name in ("dithered air", "top plateau", "watermark", "even levels", "vignette", "JPEG in the air"):
        changed = [
            TRACES[name](image, rng) if arm == "model" else image for image, arm in zip(images, arms, strict=True)
        ]
        with pytest.raises(StudyError, match="tells phony from real"):
            check_leakage(cases_of(changed, arms, modality), StudyConfig(seed=1))
