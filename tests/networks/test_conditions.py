"""Conditions: what can be asked for, how it becomes a tensor, and what is drawn where nothing is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from phonybrains.errors import ConfigError
from phonybrains.imageset import Attribute, Row
from phonybrains.model.fitting import fit_conditions
from phonybrains.networks.condition_dropout import drop
from phonybrains.networks.conditions import Category, Conditions, Number, Value


def row(modality: str, **attributes: Attribute) -> Row:
    return Row("images/1.png", "", modality, attributes=attributes)


ROWS = [
    *[row("MR", plane="axial", age=20.0)] * 3,
    *[row("MR", plane="coronal", age=60.0)] * 2,
    row("MR", plane="sagittal", age=None),
    *[row("CT", plane="axial", bleeding="epidural;subdural", age=40.0)] * 2,
    *[row("CT", plane="axial", bleeding="epidural")] * 4,
]
NAMES = ("plane", "bleeding", "age")


@pytest.fixture
def conditions() -> Conditions:
    return fit_conditions(ROWS, NAMES)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_fit_reads_labels_and_ranges(conditions: Conditions):
    """The modality comes first, labels are sorted, a multi-label cell counts as its labels, a number has its range."""
    assert conditions.attributes == (
        Category("modality", ("CT", "MR")),
        Category("plane", ("axial", "coronal", "sagittal")),
        Category("bleeding", ("epidural", "subdural")),
        Number("age", 20.0, 60.0),
    )


def test_a_column_is_a_number_only_if_every_value_is_one():
    """One word among numbers makes a category, whose labels are written as a person would: 1, not 1.0."""
    mixed = fit_conditions([row("MR", grade=1.0), row("MR", grade=2.5), row("MR", grade="unknown")], ("grade",))
    assert mixed.attributes[1] == Category("grade", ("1", "2.5", "unknown"))
    assert mixed.check({"grade": "1"}) == {"grade": "1"}
    torch.testing.assert_close(mixed.encode([row("MR", grade=1.0)]), mixed.encode([{"modality": "MR", "grade": "1"}]))
    pure = fit_conditions([row("MR", grade=1.0), row("MR", grade=None), row("MR", grade=2.5)], ("grade",))
    assert pure.attributes[1] == Number("grade", 1.0, 2.5)


def test_modality_named_twice_is_there_once():
    """The modality is always a condition; naming it changes nothing."""
    assert (
        fit_conditions(ROWS, ("modality", "plane", "plane")).attributes == fit_conditions(ROWS, ("plane",)).attributes
    )


def test_encode_by_hand(conditions: Conditions):
    """Each category has a column a label and one for «missing», a number its place in -1…1 and one for «missing»."""
    assert conditions.width == 3 + 4 + 3 + 2
    encoded = conditions.encode(
        [
            row("CT", plane="axial", bleeding="epidural;subdural", age=40.0),
            {"modality": "MR", "age": 20.0},
            row("MR", plane="coronal", bleeding="", age=60.0),
        ]
    )
    expected = [
        [1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 1, 0, 0, 1, -1, 0],
        [0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0],
    ]
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded, torch.tensor(expected, dtype=torch.float32), rtol=0, atol=0)


def test_null_is_everything_missing(conditions: Conditions):
    """The unconditional model sees only the «missing» columns set."""
    expected = torch.tensor([[0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 1]]).float()
    torch.testing.assert_close(conditions.null(2), expected.expand(2, -1), rtol=0, atol=0)
    assert conditions.null(0).shape == conditions.encode([]).shape == (0, 12)


def test_blanks_and_empty_labels_do_not_count():
    """`a; b;` has the labels a and b."""
    loose = fit_conditions([row("MR", kind="a; b;"), row("MR", kind=" c")], ("kind",))
    assert loose.attributes[1] == Category("kind", ("a", "b", "c"))
    torch.testing.assert_close(loose.encode([row("MR", kind="a; b;")]), loose.encode([row("MR", kind="b;a")]))
    assert loose.check({"kind": " b ;a"}) == {"kind": "b;a"}


def test_a_number_with_one_value_encodes():
    """A range without extent divides by nothing."""
    one = fit_conditions([row("MR", age=50.0)], ("age",))
    assert bool(one.encode([row("MR", age=50.0)]).isfinite().all())
    assert one.check({"age": 50}) == {"age": 50.0}


def test_a_corpus_with_one_modality():
    """Nothing but MR: one label, and MR is what is drawn."""
    single = fit_conditions([row("MR")] * 3, ())
    assert single.attributes == (Category("modality", ("MR",)),)
    assert single.draw({}, np.random.default_rng(0)) == {"modality": "MR"}
    with pytest.raises(ConfigError, match=r"modality 'CT' is not known to the model\. Known: MR\."):
        single.check({"modality": "CT"})


def test_an_unknown_column_names_the_known_ones():
    """A column no image has is an error with the columns there are, and the nearest of them."""
    with pytest.raises(ConfigError, match=r"'plan'\. Known: age, bleeding, plane\. Did you mean plane\?"):
        fit_conditions(ROWS, ("plan",))
    with pytest.raises(ConfigError, match="no image of the corpus has the attribute 'empty'"):
        fit_conditions([row("MR", empty=None), row("MR", empty="")], ("empty",))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"plain": "axial"}, ["no attribute 'plain'", "Known: modality, plane, bleeding, age", "Did you mean plane?"]),
        ({"plane": "axail"}, ["plane 'axail' is not known", "Known: axial, coronal, sagittal", "Did you mean axial?"]),
        ({"plane": "x1"}, ["plane 'x1' is not known", "Known: axial, coronal, sagittal."]),
        ({"plane": ""}, ["plane ''", "Known: axial"]),
        ({"bleeding": "epidural;intern"}, ["bleeding 'intern' is not known", "Known: epidural, subdural"]),
        ({"age": "old"}, ["age 'old' is not a number", "20 to 60"]),
        ({"age": 19.9}, ["age 19.9 is outside what the model has seen: 20 to 60"]),
        ({"age": "61"}, ["age 61 is outside", "20 to 60"]),
        ({"age": float("nan")}, ["age nan is outside"]),
    ],
)
def test_check_says_what_is_known(conditions: Conditions, where: Mapping[str, Value], words: list[str]):
    """A wrong attribute or value is an error that lists the known ones and suggests the nearest."""
    with pytest.raises(ConfigError) as caught:
        conditions.check(where)
    for word in words:
        assert word in str(caught.value)
    assert ("Did you mean" in str(caught.value)) == any("Did you mean" in word for word in words)


def test_check_returns_values_as_they_are_stored(conditions: Conditions):
    """Text from the command line becomes a number where the attribute is one; both ends of the range are inside."""
    where = {"age": "40", "plane": "axial", "bleeding": "subdural;epidural"}
    assert conditions.check(where) == {"age": 40.0, "plane": "axial", "bleeding": "subdural;epidural"}
    assert conditions.check({"age": 20}) == {"age": 20.0}
    assert conditions.check({"age": "60"}) == {"age": 60.0}


def test_draw_is_as_frequent_as_in_training(conditions: Conditions):
    """Of 12 rows, 3 are MR axial, 4 CT axial epidural, …: the shares drawn are the shares counted (chi-square)."""
    rng, n = np.random.default_rng(1), 6000
    drawn = Counter(tuple(conditions.draw({}, rng).values()) for _ in range(n))
    shares = {
        ("MR", "axial", None, None): 3,
        ("MR", "coronal", None, None): 2,
        ("MR", "sagittal", None, None): 1,
        ("CT", "axial", "epidural;subdural", None): 2,
        ("CT", "axial", "epidural", None): 4,
    }
    assert set(drawn) == set(shares)
    chi2 = sum((drawn[key] - n * share / 12) ** 2 / (n * share / 12) for key, share in shares.items())
    assert chi2 < 18.5  # 99.9 % for 4 degrees of freedom


def test_numbers_stay_missing_unless_asked_for(conditions: Conditions):
    """An age is never made up; one that is asked for is kept."""
    rng = np.random.default_rng(2)
    assert all(conditions.draw({}, rng)["age"] is None for _ in range(50))
    assert conditions.draw({"age": 33.0}, rng)["age"] == 33.0


def test_draw_honours_what_is_asked(conditions: Conditions):
    """The rest is drawn among the training images that match: an image with several labels matches each of them."""
    rng = np.random.default_rng(3)
    coronal = [conditions.draw({"plane": "coronal"}, rng) for _ in range(20)]
    assert all(c == {"modality": "MR", "plane": "coronal", "bleeding": None, "age": None} for c in coronal)
    subdural = [conditions.draw({"bleeding": "subdural"}, rng) for _ in range(20)]
    assert all(c["bleeding"] == "subdural" and c["modality"] == "CT" and c["plane"] == "axial" for c in subdural)
    planes = Counter(conditions.draw({"modality": "MR"}, rng)["plane"] for _ in range(3000))
    assert planes["axial"] / 3000 == pytest.approx(3 / 6, abs=0.04)
    assert planes["sagittal"] / 3000 == pytest.approx(1 / 6, abs=0.03)


def test_what_never_occurred_leaves_the_rest_missing(conditions: Conditions):
    """No image is a coronal bleeding: nothing is made up around it."""
    wanted = conditions.draw({"plane": "coronal", "bleeding": "epidural"}, np.random.default_rng(0))
    assert wanted == {"modality": None, "plane": "coronal", "bleeding": "epidural", "age": None}


def test_draw_is_determined_by_its_generator(conditions: Conditions):
    """The same generator state draws the same; another one draws others."""
    first, again, other = ([conditions.draw({}, np.random.default_rng([s, i])) for i in range(40)] for s in (5, 5, 6))
    assert first == again
    assert first != other


def test_json_round_trip(conditions: Conditions):
    """`conditions.json` holds everything: what is read back is equal and draws the same."""
    back = Conditions.from_json(conditions.to_json())
    assert back == conditions
    assert [back.draw({}, np.random.default_rng(i)) for i in range(20)] == [
        conditions.draw({}, np.random.default_rng(i)) for i in range(20)
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"attributes": [1], "combinations": []}', '{"attributes": [{}]}'])
def test_json_of_something_else(text: str):
    """What is not a `conditions.json` raises one of the errors that a model folder turns into ModelError."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Conditions.from_json(text)


def test_drop_hides_attributes_as_often_as_told(conditions: Conditions):
    """A category is missing with 1-(1-all)(1-each), a number with 1-(1-all)(1-numbers)(1-each)."""
    n = 20_000
    encoded = conditions.encode([row("CT", plane="axial", bleeding="epidural", age=40.0)] * n)
    kept = drop(encoded, conditions, generator(0), everything=0.1, numbers=0.3, each=0.2)
    gone = kept[:, [2, 6, 9, 11]]  # the «missing» columns
    assert gone.mean(0)[:3].tolist() == pytest.approx([1 - 0.9 * 0.8] * 3, abs=0.012)
    assert gone.mean(0)[3].item() == pytest.approx(1 - 0.9 * 0.7 * 0.8, abs=0.012)
    assert gone.prod(1).mean().item() == pytest.approx(0.1 + 0.9 * 0.2**3 * (1 - 0.7 * 0.8), abs=0.01)


def test_a_dropped_attribute_is_a_missing_one(conditions: Conditions):
    """Every attribute of the result is either as it was or as in null, never a mixture; all of them occur."""
    rows = [
        row("CT", plane="axial", bleeding="epidural;subdural", age=40.0),
        row("MR", plane="coronal", age=20.0),
    ] * 500
    encoded = conditions.encode(rows)
    kept, null = drop(encoded, conditions, generator(1)), conditions.null(len(rows))
    groups = torch.tensor([0] * 3 + [1] * 4 + [2] * 3 + [3] * 2)
    for attribute in range(len(conditions.attributes)):
        part = groups == attribute
        as_was = (kept[:, part] == encoded[:, part]).all(1)
        as_null = (kept[:, part] == null[:, part]).all(1)
        assert bool((as_was | as_null).all())
        assert bool(as_was.any())
        assert bool(as_null.any())
    torch.testing.assert_close(drop(encoded, conditions, generator(0), 1.0), null, rtol=0, atol=0)
    torch.testing.assert_close(drop(encoded, conditions, generator(0), 0, 0, 0), encoded, rtol=0, atol=0)


def test_drop_of_numbers_alone(conditions: Conditions):
    """`numbers` hides every number of an image and no category."""
    encoded = conditions.encode([row("CT", plane="axial", bleeding="epidural", age=40.0)] * 10)
    kept = drop(encoded, conditions, generator(0), everything=0, numbers=1, each=0)
    torch.testing.assert_close(kept[:, :10], encoded[:, :10], rtol=0, atol=0)
    torch.testing.assert_close(kept[:, 10:], torch.tensor([[0.0, 1.0]]).expand(10, 2), rtol=0, atol=0)
