"""Values of few patients: withdrawn in training, named with their reason, and warned of where images are asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phonybrains.errors import ConfigError
from phonybrains.imageset import Attribute, ImageSet, Row
from phonybrains.model.backing import counts_in_words, doubts, rule_in_words, told
from phonybrains.model.finding import shipped_models
from phonybrains.model.fitting import fit_conditions
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.schema import read_conditions
from phonybrains.model.summary import summary
from phonybrains.model.withdrawal import on_columns_of, withdraw
from phonybrains.networks.conditions import Category, Conditions, Number
from phonybrains.training.config import TrainConfig, load_train_config


def rows(modality: str, patients: int, *, of: str = "", split: str = "train", images: int = 2, **attributes: Attribute):
    """Some images of each of so many patients, all of whom have the same attributes."""
    return [
        Row(
            f"images/{modality}-{of}-{attributes}-{p}-{i}.png",
            "",
            modality,
            f"{of or modality}-{attributes}-{p}",
            split,
            attributes=attributes,
        )
        for p in range(patients)
        for i in range(images)
    ]


def fitted(found: list[Row], names: tuple[str, ...], least: int = 5) -> tuple[Conditions, ImageSet]:
    images, withdrawn = withdraw(ImageSet(Path(), tuple(found), 8, 8, 8), names, least)
    return fit_conditions([row for row in images.rows if row.split == "train"], names, withdrawn, least), images


@pytest.mark.parametrize("patients", [1, 2, 4, 5, 10])
def test_a_value_of_fewer_than_five_patients_is_withdrawn(patients: int):
    """However many images they have, four patients are too few and five are not; the count is of patients."""
    found = [*rows("CT", 20, bleeding="none"), *rows("CT", patients, images=30, bleeding="subdural")]
    conditions, images = fitted(found, ("bleeding",))
    kept = patients >= 5
    assert conditions.attributes[1].offered == (("none", "subdural") if kept else ("none",))
    assert sum(row["bleeding"] == "subdural" for row in images.rows) == (30 * patients if kept else 0)
    assert all(("subdural" in str(v)) is False for values, _ in conditions.combinations for v in values) != kept
    if not kept:
        people = "1 patient" if patients == 1 else f"{patients} patients"
        with pytest.raises(ConfigError, match=f"'subdural' is withdrawn: {30 * patients} CT .* {people} .*Known: none"):
            conditions.check({"bleeding": "subdural"})


def test_of_several_labels_only_the_withdrawn_ones_go():
    """In «a;b» b goes and a stays; patients who have b alone and beside a are counted once."""
    found = [*rows("CT", 6, kind="a"), *rows("CT", 2, kind="a;b"), *rows("CT", 2, kind="b"), *rows("CT", 1, kind="c")]
    conditions, images = fitted(found, ("kind",))
    assert conditions.attributes[1].offered == ("a",)
    assert {row["kind"] for row in images.rows} == {"a", None}
    assert [(one.value, one.patients) for one in conditions.attributes[1].withdrawn] == [("b", 4), ("c", 1)]
    both, _ = fitted([*found, *rows("CT", 1, of="more", kind="b")], ("kind",))
    assert both.attributes[1].offered == ("a", "b")


def test_patients_are_counted_in_each_modality():
    """A value that many have in MR and few in CT is withdrawn in CT alone; one person in both counts in both."""
    found = [
        *rows("MR", 8, plane="coronal"),
        *rows("CT", 3, plane="coronal"),
        *rows("CT", 8, plane="axial"),
        *rows("MR", 5, of="x", plane="axial"),
        *rows("CT", 5, of="x", sex="F"),
        *rows("MR", 5, of="x", sex="F"),
    ]
    conditions, images = fitted(found, ("plane", "sex"))
    assert {r["plane"] for r in images.rows if r.modality == "CT"} == {"axial", None}
    assert conditions.check({"plane": "coronal"}) == {"plane": "coronal"}
    with pytest.raises(ConfigError, match="coronal' is withdrawn: 6 CT training images of 3 patients"):
        conditions.check({"plane": "coronal", "modality": "CT"})
    assert conditions.check({"sex": "F", "modality": "CT"})


def test_numbers_that_few_are_near_are_withdrawn():
    """Two people of 80 among fifty of 20 to 40 leave the range at 40; a far-off one does not widen what is near."""
    found = [row for i in range(50) for row in rows("CT", 1, of=str(i), age=20.0 + 0.4 * i)]
    found += [*rows("CT", 2, age=80.0), *rows("CT", 1, age=1e6)]
    conditions, images = fitted(found, ("age",))
    age = conditions.attributes[1]
    assert isinstance(age, Number)
    assert (age.low, age.high) == (20.0, pytest.approx(39.6))
    assert [(one.value, one.patients) for one in age.withdrawn] == [("80 to 1e+06", 3)]
    assert max(row["age"] for row in images.rows if row["age"] is not None) < 40
    flag, _ = fitted([*rows("CT", 9, fracture=0.0), *rows("CT", 3, fracture=1.0)], ("fracture",))
    assert flag.attributes[1].offered == (0.0, 0.0)


def test_validation_rows_lose_what_is_withdrawn_and_what_training_lacks():
    """A label withdrawn, or seen in validation alone, is missing there too, and encodes as missing."""
    found = [
        *rows("CT", 6, kind="a"),
        *rows("CT", 1, kind="b"),
        *rows("CT", 2, split="validation", kind="b"),
        *rows("CT", 9, split="validation", kind="c"),
        *rows("CT", 1, split="validation", kind="a;c"),
    ]
    conditions, images = fitted(found, ("kind",))
    held = [row["kind"] for row in images.rows if row.split == "validation"]
    assert held == [None] * 4 + [None] * 18 + ["a"] * 2
    assert conditions.encode([{"kind": "c"}]).tolist() == conditions.null(1).tolist()


def test_a_condition_that_loses_all_values_says_so():
    """It stays known, offers nothing, and asking for it gives the reason."""
    conditions, _ = fitted([*rows("CT", 3, sex="F"), *rows("CT", 2, sex="M")], ("sex",))
    assert conditions.attributes[1].offered == ()
    assert "sex: nothing; withdrawn: F (CT: 6 images of 3 patients), M (CT: 4 images of 2 patients)" in told(conditions)
    with pytest.raises(ConfigError, match="sex 'F' is withdrawn: 6 CT training images of 3 patients"):
        conditions.check({"sex": "F"})
    assert conditions.draw({}, np.random.default_rng(0)) == {"modality": "CT", "sex": None}


def test_unknown_patients_are_not_counted_and_it_is_said():
    """Ten images of nobody knows whom stay and are named; four of them are fewer than five patients in any case."""
    found = [replace(row, patient_id="") for row in (*rows("MR", 5, kind="a"), *rows("MR", 2, kind="b"))]
    conditions, _ = fitted(found, ("kind",))
    assert conditions.attributes[1].offered == ("a",)
    assert "Whom these images show is not known: 14 MR;" in rule_in_words(conditions)
    assert "kind a: MR 10 images of an unknown number of patients" in counts_in_words(conditions)
    assert "is not known" in doubts(conditions, {"kind": "a"})[0]


@pytest.mark.parametrize("least", [0, 1])
def test_it_can_be_turned_off_and_says_so(least: int):
    """With min_patients 0 or 1 a value of one patient stays, and the rule names the price."""
    found = [*rows("CT", 9, kind="a"), *rows("CT", 1, kind="b")]
    conditions, images = fitted(found, ("kind",), least)
    assert conditions.attributes[1].offered == ("a", "b")
    assert list(images.rows) == found
    assert f"any number of patients are conditions (min_patients = {least})" in rule_in_words(conditions)
    assert "only 2 training images of 1 patient are kind b" in doubts(conditions, {"kind": "b"})[0]


def test_what_nobody_or_few_show_is_said():
    """No image: loudly, with what there is; few patients: with both counts; enough: nothing; not counted: that."""
    found = [
        *rows("MR", 9, plane="axial"),
        *rows("CT", 9, plane="axial", kind="a"),
        *rows("CT", 6, plane="axial", kind="b"),
        *rows("CT", 3, plane="axial", kind="a;b", age=50.0),
        *rows("CT", 9, plane="axial", age=20.0),
    ]
    conditions, _ = fitted(found, ("plane", "kind", "age"), 0)
    assert doubts(conditions, {}) == doubts(conditions, {"modality": "CT", "kind": "a"}) == []
    (nobody,) = doubts(conditions, {"modality": "MR", "kind": "a"})
    assert nobody.startswith("NO TRAINING IMAGE is modality MR, kind a")
    assert "With kind a, modality: CT (24 images)" in nobody
    assert "With modality MR, kind: not given (18 images)" in nobody
    (few,) = doubts(conditions, {"kind": "a;b"})
    assert "only 6 training images of 3 patients are kind a;b" in few
    assert "NO TRAINING IMAGE" in doubts(conditions, {"modality": "MR", "age": 20.0})[0]
    assert "3 patients are age 50" in doubts(conditions, {"age": 50.0})[0]
    back = Conditions.from_json(conditions.to_json())
    assert back == conditions
    old = replace(conditions, patients=(), tenths={})
    assert "does not know how many patients" in doubts(old, {"kind": "a"})[0]
    assert "NO TRAINING IMAGE" in doubts(old, {"modality": "MR", "kind": "a"})[0]


def test_a_start_may_know_more_than_is_kept(tmp_path: Path):
    """The network's columns stay; labels of too few patients are closed, and a narrower range is what is offered."""
    wide = fit_conditions([*rows("CT", 9, kind="a", age=10.0), *rows("CT", 9, kind="b", age=90.0)], ("kind", "age"))
    narrow, _ = fitted([*rows("CT", 9, kind="a", age=40.0), *rows("CT", 1, kind="b", age=40.0)], ("kind", "age"))
    joined = on_columns_of(wide, narrow)
    assert joined is not None
    assert joined.width == wide.width
    kind, age = joined.attributes[1:]
    assert isinstance(kind, Category)
    assert (kind.labels, kind.offered) == (("a", "b"), ("a",))
    assert (age.low, age.high, age.offered) == (10.0, 90.0, (40.0, 40.0))
    assert on_columns_of(narrow, wide) is None
    older = fit_conditions(rows("CT", 9, kind="a", age=99.0), ("kind", "age"))
    assert on_columns_of(wide, older, learns=False) is None
    lost, _ = fitted([*rows("CT", 9, kind="a"), *rows("CT", 1, kind="a", age=20.0)], ("kind", "age"))
    closed = on_columns_of(wide, lost)
    assert closed is not None
    assert closed.width == wide.width
    with pytest.raises(ConfigError, match="age is withdrawn"):
        closed.check({"age": 20.0})
    (tmp_path / "conditions.json").write_text(closed.to_json())
    assert read_conditions(tmp_path / "conditions.json", "") == closed
    learnt = on_columns_of(wide, older)
    assert learnt is not None
    assert learnt.check({"age": 99.0}) == {"age": 99.0}
    assert learnt.encode([{"age": 99.0}])[0, -2:].tolist() == pytest.approx([2 * 89 / 80 - 1, 0])


def test_the_setting_is_a_part_of_the_training_s_identity(tmp_path: Path):
    """`[conditions] min_patients`, a list with the option, and Python all give it; it is a part of a run's identity."""
    file = tmp_path / "a.toml"
    file.write_text('[conditions]\nattributes = ["plane"]\nmin_patients = 7\n')
    assert load_train_config("tiny", file).conditions.min_patients == 7
    both = load_train_config("tiny", file, conditions=("sex",))
    assert (both.conditions.attributes, both.conditions.min_patients) == (("sex",), 7)
    file.write_text('conditions = ["plane"]\n')
    given = load_train_config("tiny", file, min_patients=1)
    assert (given.conditions.attributes, given.conditions.min_patients) == (("plane",), 1)
    plain = load_train_config("tiny", file)
    assert plain.conditions.min_patients == 5
    assert plain.model_dump() != given.model_dump()
    with pytest.raises(ConfigError, match="min_patients"):
        load_train_config("tiny", min_patients=-1)
    assert TrainConfig(**plain.model_dump()) == plain


def test_heads_offers_no_value_of_few_patients():
    """Each label it offers is of five patients or more; the others are withdrawn with their counts and never drawn."""
    folder = shipped_models()["heads"]
    model = LatentDiffusion.load(folder)
    bleeding = next(a for a in model.conditions.attributes if a.name == "hemorrhage")
    assert isinstance(bleeding, Category)
    assert bleeding.offered == ("epidural", "none")
    assert {(one.value, one.images, one.patients) for one in bleeding.withdrawn} == {
        ("subdural", 15, 1),
        ("intraventricular", 12, 2),
        ("subarachnoid", 5, 2),
        ("intraparenchymal", 10, 4),
    }
    for value in ("subdural", "epidural;subdural"):
        with pytest.raises(ConfigError, match=r"'subdural' is withdrawn: 15 CT training images of 1 patient"):
            model.ask(range(1), {"hemorrhage": value}, 0)
    drawn = {row["hemorrhage"] for row in model.ask(range(3000), {}, 0)}
    assert drawn == {"epidural", "none", None}
    assert "NO TRAINING IMAGE is modality MR" in model.doubts({"modality": "MR", "hemorrhage": "epidural"})[0]
    assert model.doubts({"modality": "CT", "hemorrhage": "epidural"}) == []
    assert "hemorrhage epidural: CT 92 images of 10 patients" in summary("heads")
    assert "188" in (folder / "README.md").read_text()


def test_the_same_is_said_to_python_and_in_the_record(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    """`LatentDiffusion.generate` warns; `generate` says it on standard error and keeps it in the record."""
    from phonybrains.generating.stage import generate

    model = LatentDiffusion.load(tiny_model)
    where = {"modality": "MR", "hemorrhage": "none"}
    with pytest.warns(UserWarning, match="NO TRAINING IMAGE is modality MR, hemorrhage none"):
        model.generate(1, where, steps=1)
    assert model.doubts({}) == []
    generate(tiny_model, tmp_path / "out", 1, where=where, steps=1, show=False)
    assert "WARNING: NO TRAINING IMAGE" in capsys.readouterr().err
    record = json.loads((tmp_path / "out/record.json").read_text())
    assert record["results"]["warnings"][0].startswith("NO TRAINING IMAGE is modality MR")
