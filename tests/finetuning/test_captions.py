"""Captions: attributes in words by a template, and back."""

from __future__ import annotations

import numpy as np
import pytest

from phonybrains.errors import ConfigError
from phonybrains.imageset import Row
from phonybrains.model.captions import CAPTION, WORDS, Captions, Described
from phonybrains.model.fitting import fit_conditions

TEMPLATE = "{plane} {modality} of the brain, {diagnosis}, aged {age_years:.0f}"


def row(modality: str = "MR", **attributes: str | float | None) -> Row:
    return Row("images/0.png", "", modality, attributes=attributes)


ROWS = [
    row(plane="axial", diagnosis="glioma", age_years=40.0),
    row(plane="axial", diagnosis="none", age_years=60.0),
    row("CT", plane="coronal", diagnosis=None, age_years=None),
]


def described(template: str = TEMPLATE, rows: list[Row] | None = None) -> Described:
    captions = Captions(template, WORDS)
    schema = fit_conditions(rows or ROWS, captions.names)
    return Described(**vars(schema), captions=captions)


@pytest.mark.parametrize(
    ("shown", "caption"),
    [
        (row(plane="axial", diagnosis="glioma", age_years=61.4), "axial MRI of the brain, glioma, aged 61"),
        (row(plane="axial", diagnosis=None, age_years=61.4), "axial MRI of the brain, aged 61"),
        (row("CT", diagnosis="none"), "CT of the brain, no tumor"),
        (row("CT", plane="coronal", diagnosis="glioma;edema"), "coronal CT of the brain, glioma and edema"),
    ],
)
def test_a_caption_says_what_is_known_and_nothing_else(shown: Row, caption: str):
    """A missing attribute takes its clause with it, or leaves no gap; labels have their own words; numbers a format."""
    assert Captions(TEMPLATE, WORDS).write(shown) == caption


def test_a_clause_without_attributes_stays():
    """What is said of every image is said of every image; a comma inside a format parts no clause."""
    assert Captions("a slice, {plane}, gray").write(row()) == "a slice, gray"
    assert Captions("volume {size_mm3:,}, {plane}").write(row(size_mm3=12345.0)) == "volume 12,345.0"


@pytest.mark.parametrize("template", ["", "a brain", "{plane", "{}", "{plane.x}", "{0}"])
def test_what_is_no_template_is_refused(template: str):
    """Before anything is trained, with the template in the error."""
    with pytest.raises(ConfigError, match="caption"):
        Captions(template)


def test_the_default_template_keeps_what_a_corpus_has():
    """Clauses about attributes that no image has are left out of it, so that nobody is asked for them."""
    kept = Captions(CAPTION, WORDS).only({"modality", "hemorrhage"})
    assert kept.names == ("plane", "modality", "hemorrhage")
    assert kept.write(row("CT", hemorrhage="none")) == "CT of the brain, no hemorrhage"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("axial MRI of the brain, glioma", {"modality": "MR", "plane": "axial", "diagnosis": "glioma"}),
        ("A CORONAL ct", {"modality": "CT", "plane": "coronal"}),
        ("MR with no tumor", {"modality": "MR", "diagnosis": "none"}),
        ("MRI or CT of gliomas", {}),
        ("a cat", {}),
    ],
)
def test_a_prompt_names_attributes(prompt: str, expected: dict[str, str]):
    """Whole words, of any case; an image of two modalities has none."""
    schema = described()
    assert schema.captions.read(prompt, schema) == expected


def test_longer_words_win():
    """«no hemorrhage» is not also a hemorrhage, and subdural is not also epidural."""
    rows = [row("CT", hemorrhage=label) for label in ("none", "subdural", "hemorrhage")]
    schema = described("{modality}, {hemorrhage}", rows)
    assert schema.captions.read("CT, no hemorrhage", schema)["hemorrhage"] == "none"
    assert schema.captions.read("CT, subdural hemorrhage", schema)["hemorrhage"] == "subdural"
    assert schema.captions.read("CT, hemorrhage", schema)["hemorrhage"] == "hemorrhage"


def test_a_prompt_is_kept_and_what_is_asked_beside_it_wins():
    """The words go to the model as they are; --where corrects what they seem to say."""
    schema = described()
    drawn = schema.draw(schema.check({"prompt": " axial  MRI ", "modality": "CT"}), np.random.default_rng(0))
    assert drawn == {"prompt": "axial MRI", "modality": "CT", "plane": "axial", "diagnosis": None, "age_years": None}


def test_without_a_prompt_the_caption_is_drawn_as_in_training():
    """A combination that occurred, in the template's words; what is asked for is in it."""
    schema = described()
    drawn = schema.draw(schema.check({"modality": "MR", "age_years": 50}), np.random.default_rng(0))
    assert drawn["prompt"] in ("axial MRI of the brain, glioma, aged 50", "axial MRI of the brain, no tumor, aged 50")


@pytest.mark.parametrize("where", [{"prompt": " "}, {"plane": "oblique"}, {"sex": "F"}])
def test_what_is_not_known_is_refused(where: dict[str, str]):
    """As for any model; and a prompt has words."""
    with pytest.raises(ConfigError):
        described().check(where)
