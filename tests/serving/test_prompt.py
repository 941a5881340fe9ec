"""Prompts as conditions: what is understood, what is reported, what contradicts itself; for any model's attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonybrains.networks.conditions import Category, Conditions, Number
from phonybrains.serving.prompt import in_words, understand
from phonybrains.serving.refusal import Refusal
from phonybrains.serving.vocabulary import Vocabulary

HEADS = Conditions(
    (
        Category("modality", ("CT", "MR")),
        Category("plane", ("axial", "coronal", "sagittal")),
        Category("diagnosis", ("glioma", "meningioma", "pituitary")),
        Category("hemorrhage", ("epidural", "intraparenchymal", "intraventricular", "none", "subdural")),
        Number("slice", 1, 36),
        Number("lesion_x", 0.25, 0.77),
        Number("age_years", 18, 90),
    ),
    (
        (("CT", "axial", None, "none"), 90),
        (("MR", "axial", "glioma", None), 30),
        (("MR", "coronal", "pituitary", None), 20),
        (("CT", "axial", None, "epidural"), 9),
        (("CT", "axial", None, "intraventricular;intraparenchymal"), 3),
    ),
)
HEAD_WORDS = Vocabulary(HEADS)
OTHER = Conditions(
    (
        Category("sequence", ("FLAIR", "T1", "T1ce", "T2")),
        Category("sex", ("F", "M")),
        Category("who_grade", ("2", "3", "4")),
        Category("edema", ("none", "marked")),
        Category("left_lesion", ("absent", "cyst")),
        Category("right_lesion", ("absent", "cyst")),
        Number("centre_mm", -60, 80),
    ),
    ((("T1", "F", "2", "none", "absent", "cyst"), 1),),
)


@pytest.mark.parametrize(
    ("prompt", "where", "unknown"),
    [
        ("An axial MRI of the brain with a glioma", {"modality": "MR", "plane": "axial", "diagnosis": "glioma"}, []),
        ("Computed Tomography, extradural haematoma", {"modality": "CT", "hemorrhage": "epidural"}, []),
        (
            "magnetic resonance imaging, transverse, pituitary adenoma",
            {"modality": "MR", "plane": "axial", "diagnosis": "pituitary"},
            [],
        ),
        ("photorealistic T1-weighted MRI, 8K", {"modality": "MR"}, ["photorealistic T1-weighted", "8K"]),
        ("CT without hemorrhage", {"modality": "CT", "hemorrhage": "none"}, []),
        ("normal head CT", {"modality": "CT", "hemorrhage": "none"}, []),
        ("normal head MRI", {"modality": "MR"}, ["normal"]),
        ("MRI, no glioma", {"modality": "MR"}, ["no glioma"]),
        (
            "CT with no epidural or subdural hemorrhage, axial",
            {"modality": "CT", "plane": "axial"},
            ["no epidural or subdural hemorrhage"],
        ),
        (
            "MRI, not axial, coronal instead of sagittal",
            {"modality": "MR", "plane": "coronal"},
            ["not axial", "instead of sagittal"],
        ),
        ("non-contrast CT", {"modality": "CT"}, ["non-contrast"]),
        ("CT with no midline shift", {"modality": "CT"}, ["no midline shift"]),
        ("CT with a hemorrhage", {"modality": "CT"}, ["hemorrhage"]),
        ("intraventricular and intraparenchymal hemorrhage", {"hemorrhage": "intraventricular;intraparenchymal"}, []),
        ("CT slice no. 12", {"modality": "CT", "slice": 12.0}, []),
        ("an MR slice. 63-year-old, lesion_x=0.4", {"modality": "MR", "lesion_x": 0.4, "age_years": 63.0}, []),
        ("aged 63 years", {"age_years": 63.0}, []),
        ("plane=oblique", {}, ["oblique"]),
        ("meningiomas 5", {"diagnosis": "meningioma"}, ["5"]),
        ("axial, age nan, slice infinity", {"plane": "axial"}, ["age nan", "infinity"]),
        ("   ", {}, []),
    ],
)
def test_a_prompt_is_read(prompt: str, where: dict[str, Any], unknown: list[str]):
    """Synonyms, spellings, plurals, numbers; what no condition says is reported as it stands, denials never turned."""
    assert understand(prompt, HEAD_WORDS) == (where, unknown)


@pytest.mark.parametrize(
    ("prompt", "where", "unknown"),
    [
        ("contrast enhanced T1, female", {"sequence": "T1ce", "sex": "F"}, []),
        ("T1w of a man, WHO grade 3", {"sequence": "T1", "sex": "M", "who_grade": "3"}, []),
        ("T2 of a woman, 3 of them", {"sequence": "T2", "sex": "F"}, ["3", "them"]),
        ("without oedema", {"edema": "none"}, []),
        ("a cyst", {}, ["cyst"]),
        ("right lesion cyst", {"right_lesion": "cyst"}, []),
        ("centre -12.5 mm", {"centre_mm": -12.5}, []),
    ],
)
def test_words_are_those_of_the_model(prompt: str, where: dict[str, Any], unknown: list[str]):
    """Another model's labels and numbers; a label of two attributes, or one that is a number, needs its attribute."""
    assert understand(prompt, Vocabulary(OTHER)) == (where, unknown)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("CT MRI", "modality CT and MR; no image has both"),
        ("no hemorrhage, epidural hemorrhage", "hemorrhage none and epidural"),
        ("glioma, meningioma and pituitary tumour", "diagnosis glioma, meningioma and pituitary"),
        ("slice 3, slice 4", "slice 3 and 4; an image has one"),
    ],
)
def test_contradictions_are_refused(prompt: str, words: str):
    """Two labels that no training image had together, and two values of one number."""
    with pytest.raises(Refusal, match=words) as refused:
        understand(prompt, HEAD_WORDS)
    assert (refused.value.status, refused.value.code) == (400, "contradictory_prompt")


@given(
    seed=st.integers(0, 10_000), numbers=st.tuples(st.integers(1, 36), st.floats(0.25, 0.77)), numbered=st.booleans()
)
def test_conditions_in_words_are_read_back(seed: int, numbers: tuple[int, float], numbered: bool):
    """`in_words` writes a prompt that asks for the same conditions, all of it understood."""
    where = {"slice": float(numbers[0]), "lesion_x": round(numbers[1], 6)} if numbered else {}
    drawn = {k: v for k, v in HEADS.draw(where, np.random.default_rng(seed)).items() if v is not None}
    assert understand(in_words(drawn), HEAD_WORDS) == (drawn, [])


@given(st.text(max_size=200))
def test_any_text_is_read(prompt: str):
    """No text breaks the reader, and what it asks for is always what the model knows."""
    try:
        where, unknown = understand(prompt, HEAD_WORDS)
    except Refusal:
        return
    assert set(where) <= {a.name for a in HEADS.attributes}
    assert all(phrase in prompt for phrase in unknown)
