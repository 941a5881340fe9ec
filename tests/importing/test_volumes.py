"""NRRD, MetaImage, MGH, Analyze and 4-D volumes: the pixels of the same volume as NIfTI; what is no image stays out."""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from phonybrains.importing import ImportConfig
from phonybrains.importing.readers import kind_of
from phonybrains.record import read_record
from tests.support.imports import reasons, run
from tests.support.volume_files import AXES, RAS, changed, head, read, same_values, volume


def with_itk(source: Path, target: Path, *, packed: bool = False) -> Path:
    """Written by ITK from NIfTI: another reader and another writer than those of the import."""
    sitk.WriteImage(sitk.ReadImage(str(source)), str(target), packed)
    return target


def with_pynrrd(source: Path, target: Path, space: str = "right-anterior-superior") -> Path:
    image = nibabel.load(source)
    header = {"space": space, "space directions": image.affine[:3, :3].T, "space origin": image.affine[:3, 3]}
    nrrd.write(str(target), np.asarray(image.dataobj), header)
    return target


def as_mgh(source: Path, target: Path) -> Path:
    image = nibabel.load(source)
    return volume(target, np.asarray(image.dataobj), image.affine, kind=nibabel.MGHImage)


WRITERS: dict[str, Any] = {
    **dict.fromkeys(("itk.nrrd", "itk.nhdr", "itk.mha", "itk.mhd"), with_itk),
    **dict.fromkeys(("packed.nrrd", "packed.mha", "packed.mhd"), partial(with_itk, packed=True)),
    **dict.fromkeys(("freesurfer.mgz", "freesurfer.mgh"), as_mgh),
    "pynrrd.nrrd": with_pynrrd,
}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_pixels_of_the_same_volume_as_nifti(tmp_path: Path, name: str, axes: str) -> None:
    """Values, sides, spacing and order are equal, whichever writer made the file and however its axes run."""
    source = volume(tmp_path / "x_T1w.nii", head(), axes=axes)
    target = WRITERS[name](source, tmp_path / f"y-T1w.{name}")
    for plane, count in (("axial", 10), ("sagittal", 16)):
        slices, notices = read(tmp_path, [source, target], plane=plane, modality="MR")
        assert (len(slices), notices) == (2 * count, [])
        same_values(slices[:count], slices[count:])
        for ours, other in zip(slices[:count], slices[count:], strict=True):
            assert (*ours.spacing_mm, ours.order) == pytest.approx((*other.spacing_mm, other.order))
            assert (ours.low, ours.high) == (other.low, other.high)


@pytest.mark.parametrize("kind", ["UCHAR u1", "USHORT u2", "INT i4", "FLOAT f4", "DOUBLE f8"])
@pytest.mark.parametrize("form", ["little", "big", "text", "list", "pattern", "skipped", "at the end"])
def test_every_form_of_metaimage_is_read_as_itk_reads_it(tmp_path: Path, kind: str, form: str) -> None:
    """Byte orders, numbers as text, one file a slice, and headers to skip: the values that ITK finds."""
    name, dtype = kind.split()
    values = (head()[:, :, :4] // 4).astype(dtype)
    stored = values.astype(values.dtype.newbyteorder(">" if form == "big" else "<")).T  # x is the fastest
    lines = ["ObjectType = Image", "NDims = 3", "DimSize = 20 24 4", f"ElementType = MET_{name}"]
    lines += ["ElementSpacing = 1 1 3", "TransformMatrix = 1 0 0 0 1 0 0 0 1"]
    lines += [f"BinaryDataByteOrderMSB = {form == 'big'}"]
    more = {"text": "BinaryData = False", "skipped": "HeaderSize = 7", "at the end": "HeaderSize = -1"}
    lines += [more[form]] if form in more else []
    parts = [f"s{number:02d}.raw" for number in range(1, 5)]
    for part, pixels in zip(parts, stored, strict=True):
        (tmp_path / part).write_bytes(pixels.tobytes())
    text = " ".join(map(str, stored.ravel())).encode()
    before = b"x" * 7 if "HeaderSize" in lines[-1] else b""
    (tmp_path / "data.raw").write_bytes(text if form == "text" else before + stored.tobytes())
    named = {"list": "\n".join(["LIST", *parts]), "pattern": "s%02d.raw 1 4 1"}.get(form, "data.raw")
    path = tmp_path / "x_T1w.mhd"
    path.write_text("\n".join([*lines, f"ElementDataFile = {named}", ""]))
    if form != "text":  # which ITK reads only where it follows the header
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), values.T)
    slices, notices = read(tmp_path, [path], empty_below=0, plane="axial")
    assert not notices
    same_values(slices, values.T.astype(np.float32))  # (z, y, x), x to the left, y to the back


@pytest.mark.parametrize("space", ["right-anterior-superior", "left-anterior-superior", "left-posterior-superior"])
def test_every_space_of_nrrd_is_turned_as_itk_turns_it(tmp_path: Path, space: str) -> None:
    """The same directions mean other sides in another space; ITK, which turns them to LPS, agrees on each."""
    path = with_pynrrd(volume(tmp_path / "x_T1w.nii", head()), tmp_path / "y_T1w.nrrd", space)
    slices, notices = read(tmp_path, [path, with_itk(path, tmp_path / "z_T1w.nii")], plane="axial")
    assert not notices
    same_values(slices[:10], slices[10:])


def test_a_file_without_orientation_is_taken_with_a_warning(tmp_path: Path) -> None:
    """NRRD without a space, MetaImage without a matrix, MGH that says it has none, NIfTI with both codes 0: sides are
    guesses."""
    nrrd.write(str(tmp_path / "a_T1w.nrrd"), head(), {"spacings": [1, 1, 3]})
    header = "NDims = 3\nDimSize = 20 24 10\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (tmp_path / "b_T1w.mha").write_bytes(header.encode() + head().T.tobytes())
    changed(volume(tmp_path / "c_T1w.mgh", head(), kind=nibabel.MGHImage), 28, b"\0\0")  # goodRASFlag
    volume(tmp_path / "d_T1w.nii", head(), None)
    slices, notices = read(tmp_path)
    assert len({item.series for item in slices}) == 4
    assert [(item.kind, "no orientation" in item.reason) for item in notices] == [("warning", True)] * 4


@pytest.mark.parametrize(("orient", "plane"), [(0, "axial"), (1, "coronal"), (2, "sagittal")])
def test_analyze_is_taken_with_a_warning_and_the_planes_of_its_header(tmp_path: Path, orient: int, plane: str) -> None:
    """Analyze 7.5 names the plane in which it was stored, and not which side is left."""
    volume(tmp_path / "a_T1w.img", head(), np.diag([1.0, 1.0, 3.0, 1.0]), kind=nibabel.AnalyzeImage)
    slices, (notice,) = read(tmp_path, [changed(tmp_path / "a_T1w.hdr", 252, bytes([orient]))])
    assert [item.attributes["plane"] for item in slices] == [plane] * 10
    assert notice.kind == "warning"
    assert "does not say which side is left" in notice.reason


def write_4d(root: Path, name: str) -> Path:
    path, frames = root / f"x_T1w{name}", np.stack([head(seed) for seed in range(3)], axis=-1)
    if name in (".nii.gz", ".mgz"):
        return volume(path, frames, kind=nibabel.MGHImage if name == ".mgz" else nibabel.Nifti1Image)
    if name == ".mha":
        header = "NDims = 4\nDimSize = 20 24 10 3\nElementType = MET_SHORT\n"
        header += "TransformMatrix = -1 0 0 0 0 -1 0 0 0 0 1 0 0 0 0 1\nElementDataFile = LOCAL\n"
        path.write_bytes(header.encode() + frames.T.tobytes())
        return path
    place = 0 if "first" in name else 3
    directions = np.insert(RAS[:3, :3], place, np.nan, axis=0)
    kinds = np.insert(np.array(["domain"] * 3), place, "list").tolist()
    header = {"space": "RAS", "space directions": directions, "kinds": kinds}
    nrrd.write(str(path), np.moveaxis(frames, 3, place), header)
    return path


@pytest.mark.parametrize("name", [".nii.gz", ".mgz", "-last.nrrd", "-first.nrrd", ".mha"])
def test_one_frame_of_a_4d_volume_is_taken_and_named(tmp_path: Path, name: str) -> None:
    """The first, or the one that the setting `frame` asks for, has the pixels of that frame as a volume of its own."""
    path = write_4d(tmp_path, name)
    for frame in (1, 3):
        alone = volume(tmp_path / f"alone{frame}_T1w.nii", head(frame - 1))
        slices, (notice,) = read(tmp_path, [path, alone], frame=frame, plane="axial", modality="MR")
        assert (notice.kind, f"frame {frame} of 3" in notice.reason) == ("note", True)
        same_values(slices[:10], slices[10:])
    assert read(tmp_path, [alone], frame=2)[0], "a volume of one frame has no other"
    assert "asks for number 4" in read(tmp_path, [path], frame=4, modality="MR")[1][0].reason


def test_a_frame_is_a_setting_only_where_it_is_given() -> None:
    """Records of imports from before the setting stay what they are, so that they are known as finished."""
    assert "frame" not in ImportConfig().settings()
    assert ImportConfig(frame=2).settings()["frame"] == 2


NOT_IMAGES = {
    "label map": "labelsTr/a_T1w.nii a/masks/x.nii seg/x.nii sub-1_dseg.nii sub-1_desc-brain_mask.nii x.seg.nii "
    "sub-1_label-GM_probseg.nii bert/mri/aseg.nii bert/mri/aparc+aseg.nii bert/mri/aparc.a2009s+aseg.nii "
    "bert/mri/lh.ribbon.nii bert/mri/wmparc.nii bert/mri/brainmask.nii W39_1998.09.19_Segm.nii IBSR_01_segTRI_ana.nii",
    "phase": "sub-1_part-phase_T1w.nii x_ph.nii sub-1_phasediff.nii x_phase_swi.nii",
    "real": "sub-1_part-real_bold.nii x_real.nii",
    "imaginary": "x_imaginary.nii",
    "map": "dti_FA.nii dti_MD.nii x_tmax.nii",
    "PET": "sub-1_pet.nii pet/x.nii",
    "scout": "x_AAHScout.nii x_localizer.nii 3-plane_loc.nii",
    "projection": "x_MIP.nii MIP/x.nii SWI_mIP.nii mIP_SWI.nii",
    "deformation": "x_warp.nii",
    "diffusion": "dti_V1.nii FA_001.nii",
    "field map": "sub-2/fmap/sub-2_magnitude1.nii",
    "velocity": "x_velocity.nii",
}
IMAGES = """sub-1_part-mag_T1w.nii sub-1_desc-mask_T1w.nii bert/mri/T1.nii sub-1_ct.nii lesion_0001.nii real/0001.nii
    real_0001_mr.nii x_v1.nii fa_hu_0001.nii IXI002-Guys-0828-DTI-00.nii"""


def test_what_is_no_picture_of_anatomy_stays_out_by_its_name(tmp_path: Path) -> None:
    """By folder, BIDS or FreeSurfer suffix, whatever `modality` says; magnitude and masked images are taken."""
    words = {name: word for word, names in NOT_IMAGES.items() for name in names.split()}
    files = [volume(tmp_path / name, head()) for name in (*words, *IMAGES.split())]
    slices, notices = read(tmp_path, files, modality="MR")
    assert {item.file.removeprefix(f"{tmp_path.name}/") for item in slices} == set(IMAGES.split())
    reasons = {n.file.removeprefix(f"{tmp_path.name}/"): n.reason for n in notices if n.kind == "skipped"}
    assert reasons.keys() == words.keys()
    assert {name: reasons[name] for name, word in words.items() if word not in reasons[name]} == {}


def test_what_is_no_picture_of_anatomy_stays_out_by_its_header(tmp_path: Path) -> None:
    """By the ImageType that dcm2niix writes into a sidecar, by NIfTI's intent code, and by a sidecar of PET."""
    for name, types in (("a", ["ORIGINAL", "PRIMARY", "P", "ND"]), ("b", ["DERIVED", "PRIMARY", "MIP"])):
        volume(tmp_path / f"{name}_T1w.nii", head())
        (tmp_path / f"{name}_T1w.json").write_text(json.dumps({"Modality": "MR", "ImageType": types}))
    volume(tmp_path / "c_T1w.nii", head(), intent_code=1002)  # labels
    volume(tmp_path / "d_T1w.nii", head(), intent_code=5)  # z score
    slices, notices = read(tmp_path, modality="MR")
    assert not slices
    expected = "a phase, real or imaginary image|a projection of many slices|a label map|a statistical map"
    assert [notice.reason.split(" (by")[0] for notice in notices] == expected.split("|")


@pytest.mark.parametrize("kind", ["i2", "u1", "f4"])
def test_labels_are_told_by_their_values_where_no_name_tells(tmp_path: Path, kind: str) -> None:
    """Few whole numbers in large areas are labels; a noisy image of as few, and a named image, are not."""
    blocks = np.zeros((20, 24, 10))
    blocks[4:16, 4:20] = 1
    blocks[8:12, 8:16, 2:8] = 3
    coarse = np.random.default_rng(0).integers(0, 12, blocks.shape)
    for name, values in (("a.nii", blocks), ("b.nii", coarse), ("c_T1w.nii", blocks)):
        volume(tmp_path / name, values.astype(kind))
    slices, (notice,) = read(tmp_path, modality="MR")
    assert {Path(item.file).name for item in slices} == {"b.nii", "c_T1w.nii"}
    assert (Path(notice.file).name, "label map (by its values" in notice.reason) == ("a.nii", True)


def hostile(root: Path) -> dict[str, str]:
    """Volumes that cannot or must not be read, and a word of the reason."""
    whole = with_itk(volume(root / "w_T1w.nii", head()), root / "w.mha").read_bytes()
    text = whole[: whole.index(b"LOCAL\n")].decode()
    (root.parent / "secret.raw").write_bytes(b"\1" * 20_000)
    packed = text.replace("CompressedData = False", "CompressedData = True")
    cases = {
        "out_T1w.mhd": (text + "../secret.raw\n", "outside its folder"),
        "absolute_T1w.mhd": (text + f"{root.parent}/secret.raw\n", "outside its folder"),
        "missing_T1w.mhd": (text + "nowhere.raw\n", "missing"),
        "short_T1w.mha": (text + "LOCAL\n" + "x" * 900, "fewer values"),
        "huge_T1w.mha": (text.replace("20 24 10", "20000 24000 10000") + "LOCAL\n", "max_pixels"),
        "deep_T1w.mha": (text.replace("20 24 10", "900 900 90000") + "LOCAL\n", "max_pixels"),
        "garbage_T1w.mha": (packed + "LOCAL\n" + "x" * 9_000, "cannot be read"),
        "colours_T1w.mha": ("ElementNumberOfChannels = 3\n" + text + "LOCAL\n", "several values"),
        "kind_T1w.mha": (text.replace("MET_SHORT", "MET_OTHER") + "LOCAL\n", "ElementType"),
        "number_T1w.mha": (text.replace("20 24 10", "20 24 x") + "LOCAL\n", "number"),
        "minus_T1w.mha": (text.replace("20 24 10", "20 24 -10") + "LOCAL\n", "no voxels"),
        "matrix_T1w.mha": (text.replace("-1 0 0 0 -1 0", "-1 0 0 0 -1") + "LOCAL\n", "damaged"),
        "nrrd_T1w.nrrd": ("NRRD0004\ntype: short\n\n", "not understood"),
        "vector_T1w.nrrd": (
            "NRRD0004\ntype: float\ndimension: 4\nsizes: 3 9 9 9\n"
            "kinds: 3-color domain domain domain\nendian: little\nencoding: raw\n\n",
            "several values",
        ),
        "out_T1w.nhdr": (
            "NRRD0004\ntype: short\ndimension: 3\nsizes: 9 9 9\nendian: little\nencoding: raw\n"
            "data file: ../secret.raw\n\n",
            "outside its folder",
        ),
        "broken_T1w.nrrd": ("NRRD0004\nthis is no field\n\n", "NRRD"),
    }
    for name, (content, _) in cases.items():
        (root / name).write_bytes(content.encode("latin-1"))
    return {name: word for name, (_, word) in cases.items()}


def test_hostile_headers_are_refused_with_a_reason(tmp_path: Path) -> None:
    """A header may lie about sizes, types and places: nothing outside the folder is opened, and one line says why."""
    root = tmp_path / "scans"
    root.mkdir()
    reasons = hostile(root)
    slices, notices = read(root, [root / name for name in reasons])
    assert not slices
    assert {Path(n.file).name for n in notices} == set(reasons)
    for item in notices:
        assert reasons[Path(item.file).name] in item.reason, item


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A file with a few bytes changed, cut out, put in, or repeated, most of them in its header."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place = rng.randrange(min(len(changed), rng.choice((60, 400, 10**6))))
        end = place + rng.randrange(1, 40)
        inserted = rng.choice(
            (b"", b"", b"9999999", b"-1", b"1e300", b"nan", b"\n", rng.randbytes(3), changed[place:end] * 50)
        )
        changed[place : rng.choice((place, place + 1, end))] = inserted
        changed = changed or bytearray(b"x")
    return bytes(changed[: rng.choice((len(changed), len(changed), rng.randrange(len(changed)) + 1))])


@pytest.mark.parametrize(
    "name", ["x.nii", "itk.nrrd", "packed.nrrd", "itk.mha", "packed.mha", "freesurfer.mgz", "a.hdr"]
)
def test_damaged_files_give_slices_or_a_line_and_never_another_error(tmp_path: Path, name: str) -> None:
    """60 files of each format, damaged at random: each is read or reported, whatever its header claims."""
    source = volume(tmp_path / "x.nii", head())
    if name == "a.hdr":
        volume(tmp_path / "a.img", head(), kind=nibabel.AnalyzeImage)
    whole = (WRITERS[name](source, tmp_path / name) if name in WRITERS else tmp_path / name).read_bytes()
    rng, outcomes = random.Random(name), [0, 0]
    for _ in range(60):
        (tmp_path / name).write_bytes(mutated(whole, rng))
        slices, notices = read(tmp_path, [tmp_path / name], modality="MR", frame=rng.choice((1, 2)))
        assert slices or any(notice.kind == "skipped" for notice in notices)
        outcomes[bool(slices)] += 1
    assert min(outcomes) > 0, "some are read and some are not, else the damage says nothing"


def test_formats_are_told_by_content_and_unknown_images_are_never_notes() -> None:
    """`--strict` fails for an image that no reader takes; text, tables and documents beside images are notes."""
    long = b"NRRD0004\n" + b"key:=value\n" * 90
    heads = {
        ("x", long): "volume",
        ("x.mhd", b"ObjectType = Image\nNDims = 3\n"): "volume",
        ("x", b"# a comment\nNDims = 3\n" + b"Name = x\n" * 60): "volume",
        ("x.vtk", b"# vtk DataFile Version 3.0\n"): "",
        ("x.fits", b"SIMPLE  =                    T"): "",
        ("x.raw", b"ab" * 256): "",
        ("x.img", b"ab" * 256): "",
        ("x.par", b"# PAR file\n"): "",
        ("x.dat", b"words\n"): "beside",
        ("x", b"words\n"): "beside",
        ("x.json", b"{}"): "beside",
        ("x.pdf", b"%PDF\0"): "beside",
        ("BMI.txt", b"BMI values of all\n"): "beside",
        ("x", b"\1\2\3\0" * 100): "",
    }
    assert {key: kind_of(key[1], key[0], key[1][-100:]) for key in heads} == heads
    assert kind_of(b"a long text header " * 20, "x", b"\0\1") == "", "text at its beginning alone"


def test_the_second_half_and_the_sidecar_belong_to_their_volume(tmp_path: Path) -> None:
    """Neither is listed as left out, and a change of either makes another import; values without header are skipped."""
    root, config = tmp_path / "scans", ImportConfig(modality="MR", size=32)
    source = volume(root / "a_T1w.nii", head())
    with_itk(source, root / "b.mhd")
    with_itk(source, root / "c.nhdr")
    volume(root / "d.img", head(1), kind=nibabel.Nifti1Pair)
    (root / "e.raw").write_bytes(b"\0\1" * 400)
    report = run(root, tmp_path / "one", config)
    assert list(reasons(report)) == ["scans/e.raw"]
    assert report.results["total"] == 20, "a, b and c are duplicates"
    (root / "d.img").write_bytes((root / "d.img").read_bytes()[::-1])
    run(root, tmp_path / "two", config)
    (root / "a_T1w.json").write_text('{"Modality": "CT"}')
    run(root, tmp_path / "three", config)
    assert len({read_record(tmp_path / name)["identity"] for name in ("one", "two", "three")}) == 3
