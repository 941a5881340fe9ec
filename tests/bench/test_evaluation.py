"""The benches of the evaluation run, and compare what they say they compare."""

from __future__ import annotations

import pytest

from bench import evaluate, evaluation_level, evaluation_verdict, few_people, fidelity


def rows(text: str) -> dict[tuple[str, str], list[str]]:
    """The rows of the tables in a text, by their first two cells."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return {(row[0], row[1]): row for row in lines}


def test_every_test_is_tried_on_perfect_sets(capsys: pytest.CaptureFixture[str]):
    """Each test has a share of rejections and its interval; the slow one is tried less often."""
    found = evaluation_level.main(sets=4, n=20, width=4, auc_every=2)
    table = rows(capsys.readouterr().out)
    assert {name for name, _ in table} - {"test"} == set(found)
    assert table["c2st_auc, real against real", "2"]
    assert len(found) == 14
    assert all(0 <= share <= 1 for share in found.values())


def test_each_number_of_people_is_tried(capsys: pytest.CaptureFixture[str]):
    """A row for each test and number of people, and what plain percentiles reject beside it."""
    found = few_people.main(sets=4, people=(5, 8))
    table = rows(capsys.readouterr().out)
    assert len(found) == len(table) - 1 == 8
    assert table["gain, networks: 5", "8"][2] == f"{found['gain, networks: 5, 8 people']:.1%} (0.0% to 60.2%)"


def test_each_size_and_shift_has_its_words(capsys: pytest.CaptureFixture[str]):
    """The shares of words add up; a set of ten that is moved by three deviations is apart, and told."""
    evaluation_verdict.main(sets=2, sizes=(10,), shifts=(0.0, 3.0), width=4, draws=20)
    table = rows(capsys.readouterr().out)
    for row in (table["10", "0.0"], table["10", "3.0"]):
        assert row[2] == "18"
        assert sum(float(share.rstrip("%")) for share in row[3:7]) == pytest.approx(100, abs=0.3)
    assert float(table["10", "3.0"][3].rstrip("%")) > 50
    assert table["10", "3.0"][5] == "0.0%"
    assert table["10", "3.0"][7] == "100%"


def test_the_peers_find_the_same(capsys: pytest.CaptureFixture[str]):
    """Each measure of torch-fidelity is in the table, with the ratio of the times, and differs by less than 1e-5."""
    if fidelity.is_missing():
        pytest.skip("torch-fidelity is not installed")
    evaluate.main(n=40, width=16, rounds=1)
    table = rows(capsys.readouterr().out)
    for measure in ("KID", "FID", "precision, recall"):
        row = table[measure, "torch-fidelity"]
        assert float(row[5]) < 1e-5
        assert float(row[4]) > 0


def test_many_images_are_measured_in_blocks(capsys: pytest.CaptureFixture[str]):
    """5000 vectors a side: a KID near zero, with its time and peak memory."""
    evaluate.main(large_n=5000, width=8)
    (row,) = [row for key, row in rows(capsys.readouterr().out).items() if key[0] == "KID in blocks"]
    assert abs(float(row[2])) < 0.01
    assert float(row[3].replace(",", "")) > 0
