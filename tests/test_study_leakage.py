"""The leakage gate: planted leaks are found and named, innocent studies pass."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from phonybrains.errors import StudyError
from phonybrains.imageset import ImageSet
from phonybrains.phantom import make_phantoms
from phonybrains.readerstudy.config import StudyConfig
from phonybrains.readerstudy.encode import EncodedCase
from phonybrains.readerstudy.history import apply_history, parse_history
from phonybrains.readerstudy.leakage import Table, check_leakage, compare
from phonybrains.readerstudy.study import Case

Pixels = NDArray[np.int16]
Change = Callable[[Pixels], Pixels]
Resampling = Image.Resampling
N = 12  # cases a side


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Pixels]:
    """24 MR phantoms of 256 × 256."""
    folder = tmp_path_factory.mktemp("gate") / "set"
    found = ImageSet.open(make_phantoms(2 * N, folder, seed=3, size=256, slices_per_patient=1, modalities=("MR",)))
    return [found.pixels(i).astype(np.int16) for i in range(2 * N)]


def cases_of(images: Sequence[Pixels], arms: Sequence[str], modality: str = "MR") -> list[EncodedCase]:
    rng = np.random.default_rng(0)
    return [
        EncodedCase(
            Case(rng.bytes(8).hex(), "", "test", "real" if arm == "real" else "phony", arm, modality, 1, 0, "a.u.", ""),
            image,
        )
        for image, arm in zip(images, arms, strict=True)
    ]


def planted(images: Sequence[Pixels], change: Change) -> list[EncodedCase]:
    """A study whose first half is phony and was changed."""
    return cases_of([*map(change, images[:N]), *images[N:]], ["model"] * N + ["real"] * N)


def bytes_of(values: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.int16)


def black_border(pixels: Pixels) -> Pixels:
    framed = np.zeros_like(pixels)
    framed[3:-3, 3:-3] = pixels[3:-3, 3:-3]
    return framed


def without_a_level(pixels: Pixels) -> Pixels:
    return np.where(pixels == 60, np.int16(61), pixels)


def brighter_background(pixels: Pixels) -> Pixels:
    return np.maximum(pixels, 1).astype(np.int16)


def jpeg(quality: int) -> Change:
    def change(pixels: Pixels) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer)).astype(np.int16)

    return change


def resized(kernel: Image.Resampling) -> Change:
    """Made smaller and, with this kernel, as large as before."""

    def change(pixels: Pixels) -> Pixels:
        small = Image.fromarray(pixels.astype(np.float32)).resize((200, 200), Resampling.LANCZOS)
        return bytes_of(np.asarray(small.resize((256, 256), kernel)))

    return change


def stretched(pixels: Pixels) -> Pixels:
    return bytes_of(np.rint(pixels / 1.3) * np.float32(1.3))


def clipped(pixels: Pixels) -> Pixels:
    return np.minimum(pixels, int(np.quantile(pixels, 0.98))).astype(np.int16)


LEAKS: list[tuple[str, Change, str]] = [
    ("black border", black_border, "border"),
    ("a grey level missing", without_a_level, "missing grey level 60"),
    ("background 1, not 0", brighter_background, "background|darkest level"),
    ("JPEG 75", jpeg(75), "blocking|steps of JPEG"),
    ("JPEG 90", jpeg(90), "blocking|steps of JPEG"),
    ("nearest", resized(Resampling.NEAREST), "copied rows"),
    ("bilinear", resized(Resampling.BILINEAR), "resampling"),
    ("bicubic", resized(Resampling.BICUBIC), "resampling"),
    ("Lanczos", resized(Resampling.LANCZOS), "resampling"),
    ("comb of levels", stretched, "grey levels|missing grey level"),
    ("clipped", clipped, "clipping of bright"),
]


def test_an_innocent_study_passes(images: list[Pixels]) -> None:
    """Phantoms on both sides: nothing is refused, every comparison is reported with its interval."""
    found = check_leakage(planted(images, lambda pixels: pixels), StudyConfig(seed=1))
    assert found["gate"] == "passed"
    assert min(row["p"] for row in found["encoding"]) > 0.05
    assert all(row["low"] <= row["auc"] <= row["high"] for row in found["encoding"] + found["statistics"])
    assert found["benchmark"][0]["low"] < 0.5 < found["benchmark"][0]["high"]


@pytest.mark.parametrize(("change", "named"), [leak[1:] for leak in LEAKS], ids=[leak[0] for leak in LEAKS])
def test_a_planted_leak_is_refused_and_named(images: list[Pixels], change: Change, named: str) -> None:
    """Each way of storing that one side alone went through is refused, with the feature, its AUC and a remedy."""
    with pytest.raises(StudyError, match=rf"MR: '({named})' tells phony from real .*AUC [01]\.\d\d .*[Ii]mport both"):
        check_leakage(planted(images, change), StudyConfig(seed=1))


def test_another_kernel_on_either_side_is_refused(images: list[Pixels]) -> None:
    """Both sides resized, one bilinear, the other Lanczos: still told apart."""
    changed = [resized(Resampling.BILINEAR)(i) for i in images[:N]] + [
        resized(Resampling.LANCZOS)(i) for i in images[N:]
    ]
    with pytest.raises(StudyError, match="'resampling'"):
        check_leakage(cases_of(changed, ["model"] * N + ["real"] * N), StudyConfig(seed=1))


def test_the_order_of_files_is_refused_where_it_tells(images: list[Pixels]) -> None:
    """Names that sort phony before real are a leak."""
    cases = [
        replace(encoded, case=replace(encoded.case, case_id=f"{i:016x}"))
        for i, encoded in enumerate(planted(images, lambda pixels: pixels))
    ]
    with pytest.raises(StudyError, match="'position in the order of files'"):
        check_leakage(cases, StudyConfig(seed=1))


def test_the_size_of_files_is_refused_where_it_tells(images: list[Pixels]) -> None:
    """Phony images a row larger than real ones are a leak by their size."""
    with pytest.raises(StudyError, match=r"'(size of the file|height)'"):
        check_leakage(planted(images, lambda pixels: np.concatenate([pixels, pixels[-1:] + 1])), StudyConfig(seed=1))


@pytest.mark.parametrize("field", ["slope", "intercept"])
def test_calibration_is_refused_where_it_tells(images: list[Pixels], field: str) -> None:
    """What stands beside the pixels counts too."""
    cases = [
        replace(encoded, case=replace(encoded.case, **{field: 1.5})) if encoded.case.truth == "phony" else encoded
        for encoded in planted(images, lambda pixels: pixels)
    ]
    with pytest.raises(StudyError, match=f"'{field}'"):
        check_leakage(cases, StudyConfig(seed=1))


def test_one_arm_alone_is_found(images: list[Pixels]) -> None:
    """Two arms, one of them went through JPEG: that arm is named."""
    arms = ["good", "bad"] * (N // 2) + ["real"] * N
    changed = [jpeg(75)(image) if arm == "bad" else image for image, arm in zip(images, arms, strict=True)]
    with pytest.raises(StudyError, match=r"'(blocking|steps of JPEG)' .*arm (bad|all)"):
        check_leakage(cases_of(changed, arms), StudyConfig(seed=1))


def test_the_same_last_step_closes_the_leak(images: list[Pixels]) -> None:
    """JPEG on one side is refused, and passes when both sides went through jpeg:75 after it."""
    config = StudyConfig(seed=1, same_history=("jpeg:75",))
    steps = parse_history(config.same_history)
    cases = [
        replace(encoded, image=apply_history(steps, encoded.image, 0, 255)) for encoded in planted(images, jpeg(90))
    ]
    assert check_leakage(cases, config)["gate"] == "passed"


def softer(pixels: Pixels) -> Pixels:
    """Smoothed where the head is; the background stays as it was."""
    from scipy.ndimage import gaussian_filter

    return np.where(pixels < 16, pixels, bytes_of(gaussian_filter(pixels.astype(np.float32), 0.8))).astype(np.int16)


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


def test_chance_alone_refuses_one_study_in_twenty_at_most() -> None:
    """400 studies of 20 + 20 cases, 30 features of noise, some with many ties: 5 % refused, within chance."""
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        values = rng.standard_normal((30, 40))
        values[::3] = np.maximum(values[::3], 0.8)
        table = Table("MR", "all", tuple(map(str, range(30))), values, np.arange(40) < 20)
        refused += min(c.p for c in compare([table], rng, 499)) <= 0.05
    assert 8 <= refused <= 34  # 99.9 % of what a true 5 % gives


REAL = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images in ../shared/data")
def test_two_halves_of_real_images_pass() -> None:
    """Real MR slices against others of the same source, at their native size after import's own resizing."""
    names = sorted((REAL / "brain-mri" / "images").glob("*.jpg"))[:: 2300 // (2 * N)][: 2 * N]
    loaded = [np.asarray(Image.open(name).convert("L").resize((256, 256), Resampling.HAMMING)) for name in names]
    arms = ["model" if i % 2 else "real" for i in range(2 * N)]
    found = check_leakage(cases_of([pixels.astype(np.int16) for pixels in loaded], arms), StudyConfig(seed=1))
    assert found["gate"] == "passed"
