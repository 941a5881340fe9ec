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
from phonybrains.readerstudy.design.leakage_comparison import FeatureTable, adjusted_p
from phonybrains.readerstudy.study import Case
from tests.support.places import SHARED

Pixels = NDArray[np.int16]
Change = Callable[[Pixels], Pixels]
Resampling = Image.Resampling
N = 14  # cases a side
ARMS = ["model"] * N + ["real"] * N
CONFIG = StudyConfig(seed=1)
pytestmark = pytest.mark.usefixtures("remembered_features")


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
    return cases_of([*map(change, images[:N]), *images[N:]], ARMS, modality)


def same(pixels: Pixels) -> Pixels:
    return pixels


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
    found = check_leakage(planted(pictures[modality], same, modality), CONFIG)
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
    cases = cases_of([*changed, *pictures[modality][N:]], ARMS, modality)
    touched = sum(not np.array_equal(*pair) for pair in zip(changed, pictures[modality][:N], strict=True))
    if 0 < touched < N - 2:
        pytest.skip(f"it changes {touched} of {N} images, which is no trace that all share")
    if not touched:
        assert check_leakage(cases, CONFIG)["gate"] == "passed"
    else:
        with pytest.raises(StudyError, match=rf"{modality}: '.+' tells phony from real .*AUC [01]\.\d\d .*Import both"):
            check_leakage(cases, CONFIG)


@pytest.mark.parametrize(
    "told", ["resampling", "position in the order of files", "size of the file", "slope", "intercept"]
)
def test_what_stands_beside_the_pixels_is_refused_where_it_tells(images: list[Pixels], told: str) -> None:
    """Both sides resized with other kernels, names that sort phony before real, phony images a row larger, and another
    calibration of theirs are leaks."""
    if told == "resampling":
        kernels = [Resampling.BILINEAR] * N + [Resampling.LANCZOS] * N
        cases = cases_of([resized(kernel)(image) for kernel, image in zip(kernels, images, strict=True)], ARMS)
    elif told == "size of the file":
        cases = planted(images, lambda pixels: np.concatenate([pixels, pixels[-1:] + 1]))
        told = "(size of the file|height)"
    else:
        cases = planted(images, same)
        for i, one in enumerate(cases):
            changed = {"case_id": f"{i:016x}"} if told.startswith("position") else {told: 1.5} if i < N else {}
            cases[i] = replace(one, case=replace(one.case, **changed))
    with pytest.raises(StudyError, match=f"'{told}'"):
        check_leakage(cases, CONFIG)


def test_one_arm_alone_is_found(images: list[Pixels]) -> None:
    """Two arms, one of them went through JPEG: that arm is named."""
    arms = ["good", "bad"] * (N // 2) + ["real"] * N
    changed = [jpeg(image, 75) if arm == "bad" else image for image, arm in zip(images, arms, strict=True)]
    with pytest.raises(StudyError, match=r"arm (bad|all)\)"):
        check_leakage(cases_of(changed, arms), CONFIG)


def test_the_same_last_step_closes_the_leak(images: list[Pixels]) -> None:
    """Flat air on one side is refused, and passes when both sides went through floor:24 after it."""
    config, rng = StudyConfig(seed=1, same_history=("floor:24",)), np.random.default_rng(0)
    cases = planted(images, lambda pixels: TRACES["flat air"](pixels, rng))
    with pytest.raises(StudyError, match="Import both sets the same way"):
        check_leakage(cases, CONFIG)
    steps = parse_history(config.same_history or ())
    closed = [replace(encoded, image=apply_history(steps, encoded.image, 0, 255)) for encoded in cases]
    assert check_leakage(closed, config)["gate"] == "passed"


def softer(pixels: Pixels) -> Pixels:
    """Smoothed where the head is; the background stays as it was."""
    from scipy.ndimage import gaussian_filter

    return np.where(pixels < 30, pixels, bytes_of(gaussian_filter(pixels.astype(np.float32), 0.8))).astype(np.int16)


def test_noise_is_no_leak_but_is_reported(images: list[Pixels]) -> None:
    """Softer phony images are image statistics: the study goes on, the warning and the benchmark say it."""
    found = check_leakage(planted(images, softer), CONFIG)
    assert found["gate"] == "passed"
    assert found["benchmark"][0]["low"] > 0.7
    assert any("sharpness" in warning or "high band" in warning for warning in found["warnings"])


def test_without_controls_the_gate_says_that_it_cannot_tell(images: list[Pixels]) -> None:
    """All synthetic: nothing to compare with, and the warning says so."""
    found = check_leakage(cases_of(images, ["model"] * 2 * N), CONFIG)
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


def least_p(table: FeatureTable, rng: np.random.Generator) -> float:
    return min(p for *_, p in adjusted_p([table], rng, 499))


@pytest.mark.parametrize("each", [(1, 1), (4, 4), (1, 4)], ids=["one", "four", "one and four"])
def test_chance_alone_refuses_one_study_in_a_hundred(each: tuple[int, int]) -> None:
    """300 studies of 20 + 20 cases, one or four images of a patient on either side: 1 % refused, within chance; the
    same with images for patients would refuse most where a patient has four."""
    rng = np.random.default_rng(5)
    phony, real = (np.arange(20) // n for n in each)
    patients = np.concatenate([phony, phony.max() + 1 + real])
    refused = [least_p(noise_table(rng, patients, 20), rng) <= LEVEL for _ in range(300)]
    assert sum(refused) <= 10  # 99.9 % of what a true 1 % gives
    if each == (4, 4):
        alone = [replace(noise_table(rng, patients, 20), units=np.arange(40)) for _ in range(20)]
        assert sum(least_p(table, rng) <= LEVEL for table in alone) > 10


def test_several_images_of_a_patient_count_once() -> None:
    """A feature that tells two patients of phony images from two of real ones, ten images each, is no proof."""
    patients, rng = np.repeat(np.arange(4), 10), np.random.default_rng(0)
    table = replace(noise_table(rng, patients, 20), values=np.repeat([0.0, 1.0], 20)[None], names=("one",))
    assert least_p(table, rng) > 0.3


def real_images(modality: str, number: int) -> list[Pixels]:
    """Real images of as many people, each once, as import makes them."""
    folder = SHARED / "data" / {"MR": "brain-mri", "CT": "head-ct"}[modality]
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["patient_id"]: row["file_name"] for row in csv.DictReader(file)}
    names = [folder / (name if "/" in name else f"images/{name}") for name in list(rows.values())[:number]]
    loaded = [np.asarray(Image.open(name).convert("L").resize((256, 256), Resampling.HAMMING)) for name in names]
    return [pixels.astype(np.int16) for pixels in loaded]


@pytest.mark.needs("real images")
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_real_images_pass_until_a_trace_is_planted(modality: str) -> None:
    """People against other people pass; with dithered air, a top plateau, a watermark, even levels, a vignette and
    JPEG in the air on one side, each is refused."""
    images, rng = real_images(modality, 2 * N), np.random.default_rng(2)
    arms = ["model" if i % 2 else "real" for i in range(2 * N)]
    assert check_leakage(cases_of(images, arms, modality), CONFIG)["gate"] == "passed"
    for name in ("dithered air", "top plateau", "watermark", "even levels", "vignette", "JPEG in the air"):
        changed = [
            TRACES[name](image, rng) if arm == "model" else image for image, arm in zip(images, arms, strict=True)
        ]
        with pytest.raises(StudyError, match="tells phony from real"):
            check_leakage(cases_of(changed, arms, modality), CONFIG)
