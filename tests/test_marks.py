"""Pictures say that they are synthetic, whoever wrote them, and are what they were without it, byte for byte."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from phonybrains.editing.config import AddNoise, Vary
from phonybrains.editing.stage import edit
from phonybrains.evaluation.inputs.sides import without_copies
from phonybrains.generating.join import join
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet, Row, read_png, write_metadata, write_png
from phonybrains.importing import ImportConfig, import_images
from phonybrains.marks import (
    DRAWN,
    EDITED,
    ENHANCED,
    MADE,
    SyntheticMark,
    content_digest,
    is_sound,
    mark_in,
    marked,
    plain_png,
    unmarked,
)
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import Record, read_record
from phonybrains.reporting.sheets import contact_sheet

NOISE = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
MARK = SyntheticMark(MADE, {"record_identity": "ab" * 32, "seed": 3, "index": 7, "note": "Ärger \0 \n"})
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def marks_of(folder: Path) -> list[SyntheticMark | None]:
    """The marks of the images of a set, in its order."""
    return [mark_in((folder / row.file_name).read_bytes()) for row in ImageSet.open(folder).rows]


def test_a_mark_comes_out_as_it_went_in():
    """Facts and source type come back; Pillow, which knows nothing of us, finds XMP and JSON; the rest is untouched."""
    png = plain_png(NOISE)
    having = marked(png, MARK)
    assert mark_in(having) == MARK
    assert unmarked(having) == png
    assert marked(having, MARK) == having
    assert is_sound(having)
    assert len(having) - len(png) < 1000
    with Image.open(io.BytesIO(having)) as opened:
        texts: Any = opened.info
        assert np.array_equal(np.asarray(opened), NOISE)
    assert f'DigitalSourceType="{TERMS}{MADE}"' in texts["XML:com.adobe.xmp"]
    assert json.loads(texts["phonybrains"])["seed"] == 3


@given(place=st.integers(0, len(marked(plain_png(NOISE), MARK)) - 1), flip=st.integers(1, 255))
@settings(max_examples=200)
def test_any_changed_byte_of_a_picture_is_noticed(place: int, flip: int):
    """Every byte of a PNG is under a checksum, or one itself."""
    png = bytearray(marked(plain_png(NOISE), MARK))
    png[place] ^= flip
    assert not is_sound(bytes(png))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_sheets_are_marked_in_every_format(tmp_path: Path, suffix: str):
    """A contact sheet has the term as XMP, where Pillow, and whoever follows the format, looks for it."""
    contact_sheet([NOISE], tmp_path / f"sheet{suffix}", mark=SyntheticMark(EDITED))
    with Image.open(tmp_path / f"sheet{suffix}") as sheet:
        found: Any = sheet.info.get("xmp") or dict(getattr(sheet, "tag_v2", {}))[700]
    assert f"{TERMS}{EDITED}".encode() in found


def test_equal_pixels_are_equal_whatever_the_marks(tmp_path: Path):
    """The digest of the content does not see marks; that of the file does."""
    digests = {write_png(tmp_path / f"{i}.png", NOISE, mark) for i, mark in enumerate((None, MARK, MARK.of(index=8)))}
    assert len(digests) == 3
    assert len({content_digest(path) for path in tmp_path.iterdir()}) == 1


def test_generated_images_name_their_run(tiny_model: Path, tmp_path: Path):
    """Each has the identity of the run, whatever its length, the model's hash, seed and index; so have shards."""
    how: Any = {"seed": 5, "steps": 1, "show": False}
    whole = generate(tiny_model, tmp_path / "whole", 4, **how)
    record = read_record(whole)
    run = Record("generate", record["config"], 5, record["inputs"]).run_identity
    wanted = {"record_identity": run, "generator": tiny_model.name, "seed": 5}
    wanted |= {"model_sha256": record["inputs"][0]["sha256"]}
    assert marks_of(whole) == [SyntheticMark(MADE, wanted | {"index": i}) for i in range(4)]
    parts = [generate(tiny_model, tmp_path / f"{k}", 4, shard=f"{k}/2", **how) for k in (1, 2)]
    assert marks_of(parts[1]) == marks_of(whole)[2:]
    assert marks_of(join(parts, tmp_path / "joined", show=False)) == marks_of(whole)


def test_an_earlier_draft_gets_its_marks(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What an earlier version had half written, without marks, is finished to the bytes of an undisturbed run."""
    from phonybrains.generating import stage

    how: Any = {"seed": 5, "steps": 1, "show": False}
    whole = generate(tiny_model, tmp_path / "whole", 4, **how)
    with monkeypatch.context() as stopped:
        stopped.setattr(stage, "write_metadata", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            generate(tiny_model, tmp_path / "set", 4, **how)
    (draft,) = tmp_path.glob(".set.*.partial")
    for number in (0, 2):
        write_png(draft / f"images/{number:06d}.png", read_png(draft / f"images/{number:06d}.png"))
    (draft / "images/000003.png").unlink()
    generate(tiny_model, tmp_path / "set", 4, **how)
    assert (tmp_path / "set/metadata.csv").read_bytes() == (whole / "metadata.csv").read_bytes()


def test_edits_phantoms_and_imports_say_what_they_are(tiny_model: Path, tmp_path: Path):
    """An edit of a scan by a model, noise over one, a phantom, an imported synthetic image; a scan says nothing."""
    scans = make_phantoms(2, tmp_path / "scans", size=64, synthetic=False)
    drawn = make_phantoms(2, tmp_path / "drawn", size=64)
    varied = edit(scans, tmp_path / "varied", Vary(steps=1, n=2), model=tiny_model, show=False)
    noisy = [edit(of, tmp_path / f"noisy-{of.name}", AddNoise(), like=drawn, show=False) for of in (scans, drawn)]
    made = edit(drawn, tmp_path / "made", Vary(steps=1), model=tiny_model, show=False)
    config = ImportConfig(size=32, synthetic=True, generator="x")
    again = import_images([made], tmp_path / "again", config, progress=False).out
    plain = import_images([scans], tmp_path / "plain", ImportConfig(size=32, key_file=tmp_path / "key"), progress=False)
    folders = (scans, drawn, varied, *noisy, made, again, plain.out)
    kinds = [{mark and mark.source_type for mark in marks_of(folder)} for folder in folders]
    assert kinds == [{None}, {DRAWN}, {EDITED}, {ENHANCED}, {DRAWN}, {MADE}, {MADE}, {None}]
    assert {mark_in(path.read_bytes()).source_type for path in (varied / "spread").iterdir()} == {EDITED}  # type: ignore[union-attr]
    assert marks_of(again)[0].facts["record_identity"] == read_record(again)["identity"]  # type: ignore[union-attr]


def test_copies_are_found_whatever_their_marks(tmp_path: Path):
    """A synthetic image with the pixels of a real one is left out of scores, and one that comes twice is counted."""
    real = make_phantoms(4, tmp_path / "real", size=64, synthetic=False, modalities=("MR",))
    (tmp_path / "made/images").mkdir(parents=True)
    rows = []
    for i, pixels in enumerate((ImageSet.open(real).pixels(1), NOISE, NOISE)):
        digest = write_png(tmp_path / f"made/images/{i}.png", pixels, MARK.of(index=i))
        rows.append(Row(f"images/{i}.png", digest, "MR", synthetic=True))
    write_metadata(tmp_path / "made", rows)
    fresh, notes = without_copies(ImageSet.open(tmp_path / "made"), ImageSet.open(real))
    assert [row.file_name for row in fresh.rows] == ["images/1.png", "images/2.png"]
    assert [note.name for note in notes] == ["in_both_sets", "repeated_images"]
