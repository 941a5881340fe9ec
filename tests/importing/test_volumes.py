"""NRRD, MetaImage, MGH, Analyze and 4-D volumes: the pixels of the same volume as NIfTI; what is no image stays out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from phonybrains.importing import ImportConfig, import_images
from phonybrains.importing.readers import kind_of
from phonybrains.importing.slices import Notice, Slice
from phonybrains.importing.volumes.reader import read_volumes
from phonybrains.record import read_record

RAS = np.diag([1.0, 1.5, 3.0, 1.0])
AXES = ("RAS", "LPS", "PIR", "SLA", "LAS")


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or makes the key of the person who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def head(seed: int = 0, shape: tuple[int, int, int] = (20, 24, 10)) -> Any:
    """An asymmetric MR-like volume: bright to the right, front and head, a little noise, zero at the border."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    values = 200 + 10 * x + 3 * y + z + np.random.default_rng(seed).integers(0, 40, shape)
    values[:2] = values[-2:] = values[:, :2] = values[:, -2:] = 0
    return values.astype(np.int16)


def nifti(path: Path, values: Any, axes: str = "RAS", affine: Any = RAS) -> Path:
    """Write a volume with its axes turned; what it shows stays the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image: Any = nibabel.Nifti1Image(values, affine)
    turn: Any = ornt_transform(io_orientation(affine), axcodes2ornt(axes))
    nibabel.save(image.as_reoriented(turn), path)
    return path


def read(root: Path, files: list[Path], **options: Any) -> tuple[list[Slice], list[Notice]]:
    found = list(read_volumes(root, files, ImportConfig(**options)))
    slices = [item for item in found if isinstance(item, Slice)]
    return slices, [item for item in found if isinstance(item, Notice)]


def with_itk(source: Path, target: Path, *, packed: bool = False) -> Path:
    """Written by ITK from NIfTI: another reader and another writer than those of the import."""
    sitk.WriteImage(sitk.ReadImage(str(source)), str(target), packed)
    return target


def with_pynrrd(source: Path, target: Path, space: str = "right-anterior-superior") -> Path:
    image: Any = nibabel.load(source)
    header = {"space": space, "space directions": image.affine[:3, :3].T, "space origin": image.affine[:3, 3]}
    nrrd.write(str(target), np.asarray(image.dataobj), header)
    return target


def as_mgh(source: Path, target: Path) -> Path:
    image: Any = nibabel.load(source)
    values: Any = np.asarray(image.dataobj)
    nibabel.save(nibabel.MGHImage(values, image.affine), target)
    return target


WRITERS: dict[str, Any] = {
    "itk.nrrd": with_itk,
    "packed.nrrd": lambda source, target: with_itk(source, target, packed=True),
    "itk.nhdr": with_itk,
    "pynrrd.nrrd": with_pynrrd,
    "itk.mha": with_itk,
    "packed.mha": lambda source, target: with_itk(source, target, packed=True),
    "itk.mhd": with_itk,
    "packed.mhd": lambda source, target: with_itk(source, target, packed=True),
    "freesurfer.mgz": as_mgh,
    "freesurfer.mgh": as_mgh,
}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_every_format_gives_the_pixels_of_the_same_volume_as_nifti(
    tmp_path: Path, name: str, axes: str, plane: str
) -> None:
    """Values, sides, spacing and order are equal, whichever writer made the file and however its axes run."""
    source = nifti(tmp_path / "x_T1w.nii", head(), axes)
    target = WRITERS[name](source, tmp_path / f"y_T1w_{name}".replace("_T1w_", "-T1w."))
    slices, notices = read(tmp_path, [source, target], plane=plane, modality="MR")
    assert not notices
    half = len(slices) // 2
    assert half == {"axial": 10, "sagittal": 16}[plane]
    for ours, other in zip(slices[:half], slices[half:], strict=True):
        np.testing.assert_array_equal(ours.values, other.values)
        assert ours.spacing_mm == pytest.approx(other.spacing_mm)
        assert ours.order == pytest.approx(other.order)
        assert (ours.low, ours.high) == (other.low, other.high)


@pytest.mark.parametrize("kind", ["MET_UCHAR", "MET_USHORT", "MET_INT", "MET_FLOAT", "MET_DOUBLE"])
@pytest.mark.parametrize("form", ["little", "big", "text", "list", "pattern", "skipped", "at the end"])
def test_every_form_of_metaimage_is_read_as_itk_reads_it(tmp_path: Path, kind: str, form: str) -> None:
    """Byte orders, numbers as text, one file a slice, and headers to skip: the values that ITK finds."""
    values = (head()[:, :, :4] // 4).astype({"C": "u1", "S": "u2", "I": "i4", "F": "f4", "D": "f8"}[_letter(kind)])
    order = ">" if form == "big" else "<"
    stored = values.astype(values.dtype.newbyteorder(order)).T  # x is the fastest
    lines = ["ObjectType = Image", "NDims = 3", "DimSize = 20 24 4", f"ElementType = {kind}", "ElementSpacing = 1 1 3"]
    lines += ["TransformMatrix = 1 0 0 0 1 0 0 0 1", f"BinaryDataByteOrderMSB = {form == 'big'}"]
    lines += ["BinaryData = False"] * (form == "text") + ["HeaderSize = 7"] * (form == "skipped")
    lines += ["HeaderSize = -1"] * (form == "at the end")
    if form in ("list", "pattern"):
        for number, part in enumerate(stored, start=1):
            (tmp_path / f"s{number:02d}.raw").write_bytes(part.tobytes())
        lines += ["ElementDataFile = LIST", *(f"s{n:02d}.raw" for n in (1, 2, 3, 4))]
        lines = lines if form == "list" else [*lines[:-5], "ElementDataFile = s%02d.raw 1 4 1"]
    else:
        before = b"" if form not in ("skipped", "at the end") else b"x" * 7
        text = " ".join(map(str, stored.ravel())).encode()
        (tmp_path / "data.raw").write_bytes(text if form == "text" else before + stored.tobytes())
        lines += ["ElementDataFile = data.raw"]
    path = tmp_path / "x_T1w.mhd"
    path.write_text("\n".join(lines) + "\n")
    expected = values.T  # (z, y, x), x to the left, y to the back
    if form != "text":  # which ITK reads only where it follows the header
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), expected)
    slices, notices = read(tmp_path, [path], empty_below=0, plane="axial")
    assert not notices
    np.testing.assert_array_equal(np.stack([item.values for item in slices]), expected.astype(np.float32))


def _letter(kind: str) -> str:
    return {"MET_UCHAR": "C", "MET_USHORT": "S", "MET_INT": "I", "MET_FLOAT": "F", "MET_DOUBLE": "D"}[kind]


@pytest.mark.parametrize("space", ["right-anterior-superior", "left-anterior-superior", "left-posterior-superior"])
def test_every_space_of_nrrd_is_turned_as_itk_turns_it(tmp_path: Path, space: str) -> None:
    """The same directions mean other sides in another space; ITK, which turns them to LPS, agrees on each."""
    path = with_pynrrd(nifti(tmp_path / "x_T1w.nii", head()), tmp_path / "y_T1w.nrrd", space)
    again = with_itk(path, tmp_path / "z_T1w.nii")
    slices, notices = read(tmp_path, [path, again], plane="axial")
    assert not notices
    for ours, other in zip(slices[:10], slices[10:], strict=True):
        np.testing.assert_array_equal(ours.values, other.values)


def test_a_file_without_orientation_is_taken_with_a_warning(tmp_path: Path) -> None:
    """NRRD without a space, MetaImage without a matrix, MGH that says it has none: sides are guesses."""
    nrrd.write(str(tmp_path / "a_T1w.nrrd"), head(), {"spacings": [1, 1, 3]})
    stored = head().T.tobytes()
    header = "NDims = 3\nDimSize = 20 24 10\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (tmp_path / "b_T1w.mha").write_bytes(header.encode() + stored)
    nibabel.save(nibabel.MGHImage(head(), RAS), tmp_path / "c_T1w.mgh")
    content = bytearray((tmp_path / "c_T1w.mgh").read_bytes())
    content[28:30] = b"\0\0"  # goodRASFlag
    (tmp_path / "c_T1w.mgh").write_bytes(content)
    slices, notices = read(tmp_path, sorted(tmp_path.glob("*_T1w.*")))
    assert slices
    assert [(item.kind, "no orientation" in item.reason) for item in notices] == [("warning", True)] * 3


@pytest.mark.parametrize(("orient", "plane"), [(0, "axial"), (1, "coronal"), (2, "sagittal")])
def test_analyze_is_taken_with_a_warning_and_the_planes_of_its_header(tmp_path: Path, orient: int, plane: str) -> None:
    """Analyze 7.5 names the plane in which it was stored, and not which side is left."""
    image = nibabel.AnalyzeImage(head(), np.diag([1.0, 1.0, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "a_T1w.img")
    header = bytearray((tmp_path / "a_T1w.hdr").read_bytes())
    header[252] = orient
    (tmp_path / "a_T1w.hdr").write_bytes(header)
    slices, notices = read(tmp_path, [tmp_path / "a_T1w.hdr"])
    assert {item.attributes["plane"] for item in slices} == {plane}
    assert len(slices) == 10
    assert [item.kind for item in notices] == ["warning"]
    assert "does not say which side is left" in notices[0].reason


def frames() -> Any:
    return np.stack([head(seed) for seed in range(3)], axis=-1)


def write_4d(root: Path, name: str) -> Path:
    path = root / f"x_T1w{name}"
    if name in (".nii.gz", ".mgz"):
        kind: Any = nibabel.MGHImage if name == ".mgz" else nibabel.Nifti1Image
        nibabel.save(kind(frames(), RAS), path)
    elif name.endswith("last.nrrd"):
        directions = np.vstack([RAS[:3, :3], [[np.nan] * 3]])
        nrrd.write(
            str(path), frames(), {"space": "RAS", "space directions": directions, "kinds": ["domain"] * 3 + ["list"]}
        )
    elif name.endswith("first.nrrd"):
        directions = np.vstack([[[np.nan] * 3], RAS[:3, :3]])
        kinds = ["list"] + ["domain"] * 3
        nrrd.write(
            str(path), np.moveaxis(frames(), 3, 0), {"space": "RAS", "space directions": directions, "kinds": kinds}
        )
    else:
        header = "NDims = 4\nDimSize = 20 24 10 3\nElementType = MET_SHORT\n"
        header += "TransformMatrix = -1 0 0 0 0 -1 0 0 0 0 1 0 0 0 0 1\n"
        path.write_bytes(f"{header}ElementDataFile = LOCAL\n".encode() + frames().T.tobytes())
    return path


@pytest.mark.parametrize("name", [".nii.gz", ".mgz", "-last.nrrd", "-first.nrrd", ".mha"])
def test_one_frame_of_a_4d_volume_is_taken_and_named(tmp_path: Path, name: str) -> None:
    """The first, or the one that the setting `frame` asks for, has the pixels of that frame as a volume of its own."""
    path = write_4d(tmp_path, name)
    for frame in (1, 3):
        alone = nifti(tmp_path / f"alone{frame}_T1w.nii", head(frame - 1))
        slices, notices = read(tmp_path, [path, alone], frame=frame, plane="axial", modality="MR")
        assert [item.kind for item in notices] == ["note"]
        assert f"frame {frame} of 3" in notices[0].reason
        for ours, other in zip(slices[:10], slices[10:], strict=True):
            np.testing.assert_array_equal(ours.values, other.values)
    assert read(tmp_path, [alone], frame=2)[0], "a volume of one frame has no other"
    _, notices = read(tmp_path, [path], frame=4, modality="MR")
    assert "asks for number 4" in notices[0].reason


def test_a_frame_is_a_setting_only_where_it_is_given() -> None:
    """Records of imports from before the setting stay what they are, so that they are known as finished."""
    assert "frame" not in ImportConfig().settings()
    assert ImportConfig(frame=2).settings()["frame"] == 2


NOT_IMAGES = {
    "labelsTr/a_T1w.nii": "label map",
    "a/masks/x.nii": "label map",
    "seg/x.nii": "label map",
    "sub-1_dseg.nii": "label map",
    "sub-1_desc-brain_mask.nii": "label map",
    "sub-1_label-GM_probseg.nii": "label map",
    "bert/mri/aseg.nii": "label map",
    "bert/mri/aparc+aseg.nii": "label map",
    "bert/mri/aparc.a2009s+aseg.nii": "label",
    "bert/mri/lh.ribbon.nii": "label map",
    "bert/mri/wmparc.nii": "label map",
    "bert/mri/brainmask.nii": "label map",
    "x.seg.nii": "label map",
    "W39_1998.09.19_Segm.nii": "label map",
    "IBSR_01_segTRI_ana.nii": "label map",
    "sub-1_part-phase_T1w.nii": "phase",
    "sub-1_part-real_bold.nii": "real",
    "x_ph.nii": "phase",
    "x_real.nii": "real",
    "x_imaginary.nii": "imaginary",
    "sub-1_phasediff.nii": "phase",
    "dti_FA.nii": "map",
    "dti_MD.nii": "map",
    "sub-1_pet.nii": "PET",
    "x_AAHScout.nii": "scout",
    "x_localizer.nii": "scout",
    "3-plane_loc.nii": "scout",
    "x_MIP.nii": "projection",
    "x_warp.nii": "deformation",
    "dti_V1.nii": "diffusion",
    "FA_001.nii": "diffusion",
    "pet/x.nii": "PET",
    "sub-2/fmap/sub-2_magnitude1.nii": "field map",
    "MIP/x.nii": "projection",
    "SWI_mIP.nii": "projection",
    "mIP_SWI.nii": "projection",
    "x_phase_swi.nii": "phase",
    "x_velocity.nii": "velocity",
    "x_tmax.nii": "map",
}


def test_what_is_no_picture_of_anatomy_stays_out_by_its_name(tmp_path: Path) -> None:
    """By folder, BIDS or FreeSurfer suffix, whatever `modality` says; magnitude and masked images are taken."""
    files = [nifti(tmp_path / name, head()) for name in NOT_IMAGES]
    taken = ("sub-1_part-mag_T1w.nii", "sub-1_desc-mask_T1w.nii", "bert/mri/T1.nii", "sub-1_ct.nii", "lesion_0001.nii")
    taken += ("real/0001.nii", "real_0001_mr.nii", "x_v1.nii", "fa_hu_0001.nii", "IXI002-Guys-0828-DTI-00.nii")
    files += [nifti(tmp_path / name, head()) for name in taken]
    slices, notices = read(tmp_path, files, modality="MR")
    assert {item.file.removeprefix(f"{tmp_path.name}/") for item in slices} == set(taken)
    reasons = {n.file.removeprefix(f"{tmp_path.name}/"): n.reason for n in notices if n.kind == "skipped"}
    assert reasons.keys() == NOT_IMAGES.keys()
    for name, word in NOT_IMAGES.items():
        assert word in reasons[name], (name, reasons[name])


def test_what_is_no_picture_of_anatomy_stays_out_by_its_header(tmp_path: Path) -> None:
    """By the ImageType that dcm2niix writes into a sidecar, by NIfTI's intent code, and by a sidecar of PET."""
    for name, types in (("a", ["ORIGINAL", "PRIMARY", "P", "ND"]), ("b", ["DERIVED", "PRIMARY", "MIP"])):
        nifti(tmp_path / f"{name}_T1w.nii", head())
        (tmp_path / f"{name}_T1w.json").write_text(json.dumps({"Modality": "MR", "ImageType": types}))
    for name, intent in (("c", "label"), ("d", "z score")):
        image = nibabel.Nifti1Image(head(), RAS)
        image.header.set_intent(intent, ())
        nibabel.save(image, tmp_path / f"{name}_T1w.nii")
    slices, notices = read(tmp_path, sorted(tmp_path.glob("*.nii")), modality="MR")
    assert not slices
    assert [n.reason.split(" (by")[0] for n in notices] == [
        "a phase, real or imaginary image",
        "a projection of many slices",
        "a label map",
        "a statistical map",
    ]


@pytest.mark.parametrize("kind", ["i2", "u1", "f4"])
def test_labels_are_told_by_their_values_where_no_name_tells(tmp_path: Path, kind: str) -> None:
    """Few whole numbers in large areas are labels; a noisy image of as few, and a named image, are not."""
    blocks = np.zeros((20, 24, 10))
    blocks[4:16, 4:20] = 1
    blocks[8:12, 8:16, 2:8] = 3
    coarse = np.random.default_rng(0).integers(0, 12, (20, 24, 10))
    nifti(tmp_path / "a.nii", blocks.astype(kind))
    nifti(tmp_path / "b.nii", coarse.astype(kind))
    nifti(tmp_path / "c_T1w.nii", blocks.astype(kind))
    slices, notices = read(tmp_path, sorted(tmp_path.glob("*.nii")), modality="MR")
    assert {Path(item.file).name for item in slices} == {"b.nii", "c_T1w.nii"}
    assert [(Path(n.file).name, "label map (by its values" in n.reason) for n in notices] == [("a.nii", True)]


def hostile(root: Path) -> dict[str, str]:
    """Volumes that cannot or must not be read, and a word of the reason."""
    whole = with_itk(nifti(root / "w_T1w.nii", head()), root / "w.mha").read_bytes()
    text = whole[: whole.index(b"LOCAL\n")].decode()
    (root / "w.mha").unlink()
    (root / "w_T1w.nii").unlink()
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
    """100 files of each format, damaged at random: each is read or reported, whatever its header claims."""
    source = nifti(tmp_path / "x.nii", head())
    if name == "a.hdr":
        nibabel.save(nibabel.AnalyzeImage(head(), RAS), tmp_path / "a.img")
    whole = (tmp_path / name if name in ("x.nii", "a.hdr") else WRITERS[name](source, tmp_path / name)).read_bytes()
    rng, outcomes = random.Random(name), [0, 0]
    for _ in range(100):
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
    root = tmp_path / "scans"
    source = nifti(root / "a_T1w.nii", head())
    with_itk(source, root / "b.mhd")
    with_itk(source, root / "c.nhdr")
    nibabel.save(nibabel.Nifti1Pair(head(1), RAS), root / "d.img")
    (root / "e.raw").write_bytes(b"\0\1" * 400)
    config = ImportConfig(modality="MR", size=32)
    report = import_images([root], tmp_path / "one", config, progress=False)
    skipped = [(n.file, n.reason) for n in report.notices if n.kind == "skipped"]
    assert [name for name, _ in skipped] == ["scans/e.raw"]
    assert report.results["total"] == 20, "a, b and c are duplicates"
    identities = {read_record(tmp_path / "one")["identity"]}
    (root / "d.img").write_bytes((root / "d.img").read_bytes()[::-1])
    import_images([root], tmp_path / "two", config, progress=False)
    (root / "a_T1w.json").write_text('{"Modality": "CT"}')
    import_images([root], tmp_path / "three", config, progress=False)
    identities |= {read_record(tmp_path / name)["identity"] for name in ("two", "three")}
    assert len(identities) == 3
