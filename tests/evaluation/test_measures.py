"""One registry of the names of scores."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from phonybrains.errors import OutputError
from phonybrains.evaluation.config import PARTS
from phonybrains.evaluation.findings import Findings
from phonybrains.evaluation.measures import MEASURES, Better, Rule
from phonybrains.evaluation.score import Score, unavailable
from tests.support.places import ROOT


def test_a_score_has_a_name_of_the_registry(tmp_path: Path):
    """No score is made, changed or read with a name that measures.csv does not have."""
    with pytest.raises(ValueError, match=r"'kidd' is no score: evaluation/measures\.csv has the names of all"):
        Score("kidd", 0.1)
    with pytest.raises(ValueError, match="'kidd' is no score"):
        unavailable("kidd", "no weights")
    with pytest.raises(ValueError, match="'kidd' is no score"):
        replace(Score("kid", 0.1), name="kidd")
    Findings([Score("kid", 0.1)]).save(tmp_path)
    (tmp_path / "scores.json").write_text((tmp_path / "scores.json").read_text().replace("kid", "kidd"))
    with pytest.raises(OutputError, match=r"scores\.json: 0: 'kidd' is no score"):
        Findings.load(tmp_path)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_each_measure_is_described(measure):
    """Each row says whose it is, what it is called, what is good of it, and how far off is as real."""
    assert measure.part in (*PARTS, "cascade", "")
    assert measure.title
    assert measure.better in get_args(Better)
    assert measure.rule in get_args(Rule)
    assert measure.margin is None or measure.margin > 0
    assert not measure.relative or 0 < measure.margin < 1


def test_every_name_in_the_code_is_registered():
    """No score is lost because its name was forgotten: names with a part to fill in are those of the parts' tests."""
    calls = re.compile(r'\b(?:Score|Score\.of|unavailable|beside|tried)\(\s*"(\w+)"')
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "phonybrains").rglob("*.py")]
    names = {name for text in texts for name in calls.findall(text)}
    assert len(names) > 25
    assert names <= MEASURES.keys()
