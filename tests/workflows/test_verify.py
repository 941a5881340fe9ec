"""verify: one changed byte anywhere from a picture to its sources is found, and what is whole is not accused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from phonybrains.cli import parser
from phonybrains.editing.augment import augment
from phonybrains.editing.config import Vary
from phonybrains.editing.stage import edit
from phonybrains.errors import ConfigError
from phonybrains.generating.join import join
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet, Row, read_png, write_metadata, write_png
from phonybrains.importing import ImportConfig, import_images
from phonybrains.marks import marked_png, plain_png
from phonybrains.phantom.corpus import draw_phantom, make_phantoms
from phonybrains.record import SEAL, Record, as_input, fingerprint, publish, read_record, sha256_file, write_record
from phonybrains.workflows.verify import Verification, verify

HOW: Any = {"seed": 1, "steps": 1, "show": False}
FREE = ("README.md",)
"""People write a model's card: no hash holds it. The log of a training is the other thing that none does."""


def words(found: Verification) -> dict[str, str]:
    """The last word on each kind of link."""
    return {link.what: link.word for link in found.links}


@pytest.fixture(scope="module")
def chain(phantom_corpus: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, the model that learnt from it, and four images of that; do not change it, copy it."""
    folder = tmp_path_factory.mktemp("chain")
    shutil.copytree(phantom_corpus, folder / phantom_corpus.name)
    shutil.copytree(tiny_model, folder / "model", ignore=shutil.ignore_patterns("training"))
    generate(folder / "model", folder / "set", 4, **HOW)
    return folder


def test_a_whole_chain_is_intact(chain: Path, capsys: pytest.CaptureFixture[str]):
    """Picture, set, model and corpus follow each other by their hashes; the command ends with 0, and tells JSON."""
    found = verify(chain / "set", show=False)
    assert (found.word, found.exit_code) == ("intact", 0), str(found)
    assert set(words(found)) == {"record", "table", "images", "marks", "model", "set"}
    assert parser.app(["verify", str(chain / "set/images/000002.png"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "intact"
    assert [link["what"] for link in said["links"]].count("model") == 2  # that it is the one, and that it is whole


def test_a_folder_of_drawn_masks_is_known_by_its_content(tmp_path: Path):
    """It has no record: whoever names it learns whether it is what the images follow; a changed one is not it."""
    drawn, out = tmp_path / "drawn", tmp_path / "far/set"
    drawn.mkdir()
    out.parent.mkdir()
    write_png(drawn / "a.png", np.zeros((8, 8), np.uint8))
    with publish(out, Record("generate", {"requests": []}, 0, [as_input(drawn)])) as draft:
        (draft / "images").mkdir()
        digest = write_png(draft / "images/0.png", np.zeros((8, 8), np.uint8))
        write_metadata(draft, [Row("images/0.png", digest, "MR")])
    assert words(verify(out, near=[drawn], show=False))["input"] == "intact"
    write_png(drawn / "a.png", np.ones((8, 8), np.uint8))
    assert words(verify(out, near=[drawn], show=False))["input"] == "unknown"


def test_a_mask_is_verified_with_its_image(tmp_path: Path):
    """It lies in its set, intact or changed; another picture there does not."""
    out = make_phantoms(2, tmp_path / "set", size=32, modalities=("MR",), masks="lesion")
    found = verify(out / "masks/000001.png", show=False)
    assert (found.word, words(found)["masks"]) == ("intact", "intact")
    write_png(out / "masks/000001.png", np.zeros((32, 32), np.uint8))
    assert words(verify(out / "masks/000001.png", show=False))["mask"] == "changed"
    write_png(out / "masks/other.png", np.zeros((32, 32), np.uint8))
    assert "lies in no image set" in str(verify(out / "masks/other.png", show=False).links)


def test_a_changed_byte_is_found_wherever_it_is(chain: Path, tmp_path: Path):
    """At random places of every file of the set, of some of the corpus, and of the model, but of its card."""
    folder, rng = tmp_path / "chain", Random(0)
    shutil.copytree(chain, folder)
    corpus = next(path for path in folder.iterdir() if path.name not in ("model", "set"))
    paths = [path for part in ("set", "model") for path in sorted((folder / part).rglob("*")) if path.is_file()]
    paths += [corpus / "record.json", corpus / "metadata.csv", *rng.sample(sorted(corpus.glob("images/*.png")), 2)]
    for path in (path for path in paths if path.name not in FREE):
        whole = path.read_bytes()
        places = [rng.randrange(len(whole)) for _ in range(12 if path.suffix == ".json" else 1)]
        for place in {0, len(whole) - 1, *places}:
            changed = bytearray(whole)
            changed[place] ^= rng.randrange(1, 256)
            path.write_bytes(changed)
            found = verify(folder / "set", show=False)
            assert found.exit_code == 1, f"byte {place} of {path.relative_to(folder)}\n{found}"
        path.write_bytes(whole)
    assert verify(folder / "set", show=False).exit_code == 0


def test_what_is_lost_or_put_in_its_place_is_found(chain: Path, tmp_path: Path):
    """A lost image, two that changed places, a table and a record from another run of the same model."""
    other = generate(chain / "model", tmp_path / "other", 4, **(HOW | {"seed": 2}))
    for number, change in enumerate(
        (
            lambda s: (s / "images/000001.png").unlink(),
            lambda s: (s / "images/000001.png").write_bytes((s / "images/000002.png").read_bytes()),
            lambda s: shutil.copy(other / "metadata.csv", s),
            lambda s: shutil.copy(other / "record.json", s),
            lambda s: [shutil.copy(other / name, s) for name in ("record.json", "metadata.csv")],
        )
    ):
        shutil.copytree(chain / "set", folder := tmp_path / f"{number}")
        change(folder)
        assert verify(folder, near=[chain], show=False).word == "changed"


def test_a_record_of_another_run_does_not_fit_the_marks(chain: Path, tmp_path: Path):
    """Whoever writes table and record anew, hashes and all, has to write every image anew too."""
    other = generate(chain / "model", tmp_path / "other", 4, **(HOW | {"seed": 2}))
    for row in (mine := ImageSet.open(chain / "set")).rows:
        shutil.copy(mine.folder / row.file_name, other / row.file_name)
    write_metadata(other, mine.rows)
    write_record(other, read_record(other))
    found = [(link.what, link.word) for link in verify(other, near=[chain], show=False).links[:4]]
    assert found == [("record", "intact"), ("table", "intact"), ("images", "intact"), ("marks", "changed")]


def test_what_is_not_at_hand_is_unknown(chain: Path, tmp_path: Path):
    """Without its model a set ends in the unknown, and with 2; --near finds it; a corpus changed since is called so."""
    shutil.copytree(chain / "set", folder := tmp_path / "a/b/set")
    found = verify(folder, show=False)
    assert (found.exit_code, words(found)["model"]) == (2, "unknown")
    assert verify(folder, near=[chain], show=False).exit_code == 0
    corpus = next(path for path in chain.iterdir() if path.name not in ("model", "set"))
    shutil.copytree(corpus, tmp_path / "near" / corpus.name)
    shutil.copytree(chain / "model", tmp_path / "near/model")
    images = ImageSet.open(tmp_path / "near" / corpus.name)
    write_metadata(images.folder, images.rows[1:])
    assert verify(folder, near=[tmp_path / "near"], show=False).exit_code == 1


def test_within_a_folder_nothing_outside_is_looked_for(chain: Path):
    """A model that lies beside the set is unknown within the set's own folder, and found within the one around both."""
    assert words(verify(chain / "set", within=chain / "set", show=False))["model"] == "unknown"
    assert verify(chain / "set", within=chain, show=False).word == "intact"


def test_sets_of_before_are_not_accused(chain: Path, tmp_path: Path):
    """A set without marks, without the hashes of record and table: its images are intact, the rest unknown."""
    shutil.copytree(chain / "set", folder := tmp_path / "set")
    images = ImageSet.open(folder)
    for row in images.rows:
        (folder / row.file_name).write_bytes(plain_png(images.pixels(images.rows.index(row))))
    write_metadata(folder, [replace(row, sha256=sha256_file(folder / row.file_name)) for row in images.rows])
    record = {key: value for key, value in read_record(folder).items() if key not in (SEAL, "files")}
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n")
    found = verify(folder, near=[chain], show=False)
    assert found.word == "unknown"
    assert {link.what: link.word for link in found.links[:4]} == {
        "record": "unknown",
        "table": "unknown",
        "images": "intact",
        "marks": "unknown",
    }


def test_joined_edited_and_augmented_sets_are_intact(chain: Path, tmp_path: Path):
    """Whatever a set was made by, its marks, its files beside the images and its inputs are as its record says."""
    corpus = next(path for path in chain.iterdir() if path.name not in ("model", "set"))
    parts = [generate(chain / "model", tmp_path / f"{k}", 4, shard=f"{k}/2", **HOW) for k in (1, 2)]
    joined = join(parts, tmp_path / "joined", show=False)
    varied = edit(joined, tmp_path / "varied", Vary(steps=1, n=2), model=chain / "model", show=False)
    more = augment(corpus, tmp_path / "more", model=chain / "model", factor=1.1, steps=1, show=False)
    for folder in (parts[0], joined, varied, more):
        found = verify(folder, near=[chain], show=False)
        assert found.word == "intact", str(found)
    spread = next((varied / "spread").iterdir())
    spread.write_bytes(spread.read_bytes()[:-1] + b"x")
    assert verify(varied, near=[chain], show=False).word == "changed"


def test_an_import_leads_to_its_sources(tmp_path: Path):
    """Where they lay, by the list beside the set; changed there, gone, or named with --near."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for i in range(3):
        write_png(scans / f"{i}.png", draw_phantom(np.random.default_rng(i), "MR", size=64)[0])
    config = ImportConfig(size=64, modality="MR", key_file=tmp_path / "key")
    corpus = import_images([scans], tmp_path / "corpus", config, progress=False).out
    assert verify(corpus, show=False).word == "intact"
    assert words(verify(corpus, within=corpus, show=False))["source"] == "unknown"
    moved = scans.rename(tmp_path / "elsewhere")
    assert words(verify(corpus, show=False))["source"] == "unknown"
    assert words(verify(corpus, near=[moved], show=False))["source"] == "intact"
    shutil.copytree(moved, scans)
    (scans / "1.png").write_bytes((scans / "2.png").read_bytes())
    assert words(verify(corpus, show=False))["source"] == "changed"


def test_a_picture_alone_is_led_back(chain: Path, tmp_path: Path):
    """A copy of a set's image is found in the set by what it says; repainted, it is found out; served, it has its own
    hash and names its model; one that says nothing is unknown."""
    picture = tmp_path / "a.png"
    shutil.copy(chain / "set/images/000002.png", picture)
    found = verify(picture, near=[chain], show=False)
    assert (found.word, "000002.png" in str(found)) == ("intact", True)
    (tmp_path / "far/away/alone").mkdir(parents=True)  # other tests' sets lie one level above
    alone = shutil.copy(picture, tmp_path / "far/away/alone/b.png")
    assert words(verify(Path(alone), show=False))["image"] == "unknown"
    model = {"generator": "model", "model_sha256": fingerprint(chain / "model")}
    pixels = read_png(picture)
    picture.write_bytes(png := marked_png(pixels.astype("uint8"), model | {"seed": 1, "index": 0}))
    assert words(verify(picture, near=[chain], show=False))["image"] == "intact"
    assert verify(picture, near=[chain], show=False).exit_code == 0
    repainted = marked_png((pixels // 2).astype("uint8"), model)
    picture.write_bytes(png[: png.index(b"IDAT") - 4] + repainted[repainted.index(b"IDAT") - 4 :])
    assert words(verify(picture, near=[chain], show=False))["image"] == "changed"
    picture.write_bytes(png[:-20] + bytes([png[-20] ^ 1]) + png[-19:])
    assert verify(picture, show=False).exit_code == 1
    picture.write_bytes(plain_png(pixels))
    assert verify(picture, show=False).exit_code == 2


def test_what_cannot_be_verified_is_said(tmp_path: Path):
    """Nothing there, a folder of nobody's, a --near that is no folder, a watermark's key that is none."""
    (tmp_path / "a.png").write_bytes(plain_png(np.zeros((8, 8), np.uint8)))
    for call, text in (
        (lambda: verify(tmp_path / "no", show=False), "is not there"),
        (lambda: verify(tmp_path, show=False), "is nothing that phonybrains made"),
        (lambda: verify(tmp_path / "a.png", near=[tmp_path / "x"], show=False), "no such folder"),
        (lambda: verify(tmp_path / "a.png", watermark=tmp_path / "x", show=False), "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=text):
            call()
