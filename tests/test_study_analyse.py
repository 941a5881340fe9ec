"""What the answers show: known small tables by hand, degenerate answers, exclusions and departures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.errors import StudyError
from phonybrains.phantom import make_phantoms
from phonybrains.readerstudy.analyse import analyse_study
from phonybrains.readerstudy.config import load_study_config
from phonybrains.readerstudy.design import design_study
from phonybrains.readerstudy.findings.analysis import Analysis, analyse_answers
from phonybrains.readerstudy.findings.general import test_registered as run_registered
from phonybrains.readerstudy.findings.pictures import map_marks, unanimous
from phonybrains.readerstudy.findings.pooled import in_general, pooled_share, share_covariance
from phonybrains.readerstudy.findings.reads import Finding, find, join, patient_of
from phonybrains.readerstudy.order import presentations
from phonybrains.readerstudy.report.opening import call_counts, verdict_text
from phonybrains.readerstudy.study import Answer, Call, Mark, Study
from phonybrains.statistics.proportions import wilson
from study_files import make_study


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The paper's design: 20 MR and 20 CT, all phony, readers A and B."""
    folder = tmp_path_factory.mktemp("paper")
    samples = make_phantoms(60, folder / "samples", seed=2, size=64)
    return Study.open(design_study([samples], None, folder / "study", load_study_config("paper", seed=1), show=False))


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.open(make_study(tmp_path_factory.mktemp("controlled")))


def read_all(study: Study, reader: str, call: Mapping[str, Call] | Call, **given: Any) -> list[Answer]:
    """All presentations of a reader, answered by case or all alike."""
    shown = presentations(study, reader)
    calls = {one.case_id: call for one in shown} if isinstance(call, str) else call
    return [Answer(reader, one.position, one.kind, one.case_id, calls[one.case_id], **given) for one in shown]


def truthful(study: Study) -> dict[str, Call]:
    return {case.case_id: case.truth for case in study.cases.values()}


def papers_answers(study: Study) -> list[Answer]:
    """A: MR 14 real, 4 phony, 2 unclear, CT 3 real, 17 phony; B: MR 10 and CT 2 real, all others phony."""
    counts = {"A": {"MR": (14, 4, 2), "CT": (3, 17, 0)}, "B": {"MR": (10, 10, 0), "CT": (2, 18, 0)}}
    answers = []
    for reader, by_modality in counts.items():
        calls: dict[str, Call] = {}
        for modality, (real, phony, unclear) in by_modality.items():
            said: Sequence[Call] = ["real"] * real + ["phony"] * phony + ["unclear"] * unclear
            ids = sorted(case.case_id for case in study.cases.values() if case.modality == modality)
            calls |= dict(zip(ids, said, strict=True))
        answers += read_all(study, reader, calls)
    return answers


def need(analysis: Analysis, quantity: str, **labels: str) -> Finding:
    finding = find(analysis.findings, quantity, **labels)
    assert finding is not None, (quantity, labels)
    return finding


def test_the_papers_counts_come_out_of_its_answers(paper: Study):
    """Fig. 5: 14, 4, 2 and 3, 17, 0 of A; 10, 10, 0 and 2, 18, 0 of B; nothing on real images."""
    analysis = analyse_answers(paper, papers_answers(paper))
    assert call_counts(analysis) == {
        ("phony", "MR", "A"): (14, 4, 2), ("phony", "MR", "B"): (10, 10, 0),
        ("phony", "CT", "A"): (3, 17, 0), ("phony", "CT", "B"): (2, 18, 0),
    }  # fmt: skip
    called = need(analysis, "called real", reader="A", unclear="not real")
    assert called.value == pytest.approx(17 / 40)
    of_patients: dict[str, list[bool]] = {}
    for read in analysis.main:
        if read.reader == "A":
            of_patients.setdefault(patient_of(read.case), []).append(read.call == "real")
    expected = pooled_share(of_patients)
    assert (called.low, called.high) == pytest.approx((expected.low, expected.high))
    assert called.high - called.low > wilson(17, 40).high - wilson(17, 40).low
    assert need(analysis, "called real", reader="A", unclear="left out").n == 38
    assert need(analysis, "phony images called unclear", reader="A", modality="MR").value == 2


def test_what_both_called_real_and_phony_is_found_by_hand(paper: Study):
    """With the calls in order of the ids, both call 10 MR and 2 CT real, and 4 MR and 17 CT phony."""
    analysis = analyse_answers(paper, papers_answers(paper))
    real, phony = (unanimous(analysis.cases, call, 2) for call in ("real", "phony"))
    assert [sum(one.case.modality == m for one in real) for m in ("MR", "CT")] == [10, 2]
    assert [sum(one.case.modality == m for one in phony) for m in ("MR", "CT")] == [4, 17]
    assert need(analysis, "agreement").value == pytest.approx(33 / 40)


def test_an_all_synthetic_design_claims_nothing_on_real_images(paper: Study):
    """No specificity, accuracy, area or d' is given where no image was real."""
    analysis = analyse_answers(paper, papers_answers(paper))
    given = {finding.quantity for finding in analysis.findings}
    assert not any(word in name for name in given for word in ("specificity", "accuracy", "AUC", "d'", "criterion"))
    assert need(analysis, "sensitivity", reader="A", unclear="not phony").value == pytest.approx(21 / 40)
    assert need(analysis, "sensitivity", reader="A", unclear="phony").value == pytest.approx(23 / 40)
    assert need(analysis, "sensitivity", reader="A", unclear="left out").value == pytest.approx(21 / 38)


def test_a_perfect_reader_has_all_figures_at_one(controlled: Study):
    """Sensitivity, specificity, accuracy and area of a reader who is always right are 1, repeats agree."""
    answers = [
        answer for name in ("A", "B", "C") for answer in read_all(controlled, name, truthful(controlled), confidence=90)
    ]
    analysis = analyse_answers(controlled, answers)
    for quantity in ("sensitivity", "specificity", "accuracy"):
        assert need(analysis, quantity, reader="A", unclear="not phony").value == 1
    for quantity in ("AUC, these readers", "AUC, readers in general"):
        finding = need(analysis, quantity)
        assert finding.value == 1
        assert finding.low is not None
        assert finding.low < 1
    assert need(analysis, "repeats: agreement", reader="B").value == 1
    assert need(analysis, "called real", unclear="not real").value == 0


def test_scores_follow_the_call_and_the_confidence(controlled: Study):
    """Phony 100 + c, unclear 100, real 100 - c, with 50 where no confidence was given."""
    case = controlled.of_role("test")[0].case_id
    said: list[tuple[Call, int | None]] = [("phony", 80), ("unclear", 80), ("real", 80), ("phony", None), ("real", 0)]
    reads = join(controlled, [Answer("A", i, "test", case, call, c) for i, (call, c) in enumerate(said)])
    assert [read.score for read in reads] == [180, 100, 20, 150, 100]


def test_a_reader_who_fails_the_checks_is_left_out_as_registered(controlled: Study):
    """Calling shuffled tiles real takes a reader out of the main analysis; training never counts."""
    careless = read_all(controlled, "careless", "real")
    kept = read_all(controlled, "kept", truthful(controlled))
    sources = {"careless": "invited", "kept": "invited"}
    analysis = analyse_answers(controlled, careless + kept, sources=sources)
    assert analysis.readers == ["kept"]
    assert len(analysis.main) == len(controlled.of_role("test"))
    assert need(analysis, "attention checks passed", reader="careless").value == 0
    assert any("careless" in text and "left out" in text for text in analysis.departures)
    alone = analyse_answers(controlled, careless)
    assert alone.nobody_kept
    assert alone.readers == ["careless"]


def test_departures_name_who_did_not_finish_and_what_the_store_noted(controlled: Study):
    """Unfinished and silent readers are listed with the number of missing presentations."""
    half = read_all(controlled, "A", truthful(controlled))[:20]
    analysis = analyse_answers(
        controlled, half, sources={"A": "invited", "B": "invited"}, noted=["The study was paused."]
    )
    assert "The study was paused." in analysis.departures
    assert any("'A' did not finish: 14 of 34" in text for text in analysis.departures)
    assert any("'B' gave no answer" in text for text in analysis.departures)


def test_no_answers_is_a_clear_error(controlled: Study, tmp_path: Path):
    """Without a database, and with training alone, the error says that there is nothing to analyse."""
    with pytest.raises(StudyError, match="no answers yet"):
        analyse_study(controlled.folder, tmp_path / "report")
    training = [answer for answer in read_all(controlled, "A", "real") if answer.kind == "training"]
    with pytest.raises(StudyError, match="nothing to analyse"):
        analyse_answers(controlled, training)
    assert not (tmp_path / "report").exists()


def test_an_answer_of_another_study_is_a_clear_error(controlled: Study):
    """A case that is not in the study is named."""
    with pytest.raises(StudyError, match="'elsewhere', which is not in"):
        analyse_answers(controlled, [Answer("A", 1, "test", "elsewhere", "real")])


def test_pooled_shares_keep_the_reads_of_a_case_together():
    """Readers who all say the same are as good as one; of one reader the interval is near Wilson's with t for z."""
    same = pooled_share({str(i): [i < 12] * 5 for i in range(20)})
    one = pooled_share({str(i): [i < 12] for i in range(20)})
    assert (same.low, same.high) == pytest.approx((one.low, one.high))
    assert one.value == pytest.approx(0.6)
    assert one.high - one.low == pytest.approx(wilson(12, 20).high - wilson(12, 20).low, rel=0.12)
    always = pooled_share({str(i): [True] * 3 for i in range(20)})
    assert (always.value, always.high) == (1, 1)
    assert 0.75 < always.low < 0.9


def test_a_share_for_readers_in_general_is_wider_than_for_these():
    """Readers who differ widen the interval for readers in general; the mean stays."""
    rng = np.random.default_rng(0)
    table = (rng.random((4, 50)) < np.array([[0.3], [0.5], [0.7], [0.9]])).astype(float)
    general, df = in_general(table.mean(axis=1), share_covariance(table), 50, 0.95)
    these = pooled_share({str(i): [bool(x) for x in table[:, i]] for i in range(50)})
    assert general.value == pytest.approx(these.value)
    assert general.high - general.low > 1.5 * (these.high - these.low)
    assert 3 <= df < 5


@pytest.mark.parametrize(("hypothesis", "calls", "shown"), [
    ("difference", "alternate", False), ("difference", "truth", True), ("equivalence", "truth", False),
])  # fmt: skip
def test_the_registered_hypothesis_is_tested(controlled: Study, hypothesis: str, calls: str, shown: bool):
    """A right reader differs from chance and is not equivalent to it; one who alternates is not shown to differ."""
    ids = sorted(case.case_id for case in controlled.of_role("test"))
    alternate: dict[str, Call] = {}
    for truth in ("real", "phony"):
        own = [case_id for case_id in ids if controlled.cases[case_id].truth == truth]
        alternate |= {case_id: ("real", "phony")[i % 2] for i, case_id in enumerate(own)}
    said = truthful(controlled) | (alternate if calls == "alternate" else {})
    reads = [read for read in join(controlled, read_all(controlled, "A", said)) if read.answer.kind == "test"]
    plan = controlled.config.plan.model_copy(update={"hypothesis": hypothesis, "primary": "accuracy"})
    tested = run_registered(reads, plan)
    assert tested is not None
    assert tested.shown is shown


def test_equivalence_takes_many_images(paper: Study):
    """20 of 40 called real is as near to chance as can be, and still shows no equivalence within ± .10."""
    ids = sorted(paper.cases)
    calls: dict[str, Call] = {case_id: ("real", "phony")[i % 2] for i, case_id in enumerate(ids)}
    plan = paper.config.plan.model_copy(update={"hypothesis": "equivalence"})
    tested = run_registered(join(paper, read_all(paper, "A", calls)), plan)
    assert tested is not None
    assert tested.primary.value == 0.5
    assert tested.shown is False
    assert tested.p is not None
    assert tested.p > 0.05


def test_marks_are_counted_where_they_lie(controlled: Study):
    """The map of one mark has its peak there."""
    case = next(case for case in controlled.of_role("test") if case.truth == "phony")
    answers = [Answer("A", 1, "test", case.case_id, "phony", marks=(Mark(0.25, 0.75),))]
    (heat,) = map_marks(controlled, join(controlled, answers))
    row, column = np.unravel_index(heat.density.argmax(), heat.density.shape)
    assert (row, column) == (int(0.75 * controlled.height), int(0.25 * controlled.width))
    assert (heat.modality, heat.marks) == (case.modality, 1)


def test_arms_are_compared_by_the_same_readers(controlled: Study):
    """Of two arms, one always and one never found out, the difference of sensitivity is 1 with a Holm-corrected p."""
    cases = {key: case if case.truth == "real" or i % 2 else replace(case, arm="other")
             for i, (key, case) in enumerate(sorted(controlled.cases.items()))}  # fmt: skip
    study = replace(controlled, cases=cases)
    said: dict[str, Call] = {key: "phony" if case.arm == "other" else "real" for key, case in cases.items()}
    answers = [answer for name in ("A", "B") for answer in read_all(study, name, said) if answer.kind == "test"]
    analysis = analyse_answers(study, answers)
    finding = need(analysis, "difference of sensitivity", arm="other less samples")
    assert finding.value == pytest.approx(1)
    assert "Holm" in finding.note


def test_the_verdict_speaks_of_these_readers_only_where_they_are_two(paper: Study):
    """Two readers: no word on readers in general."""
    text = verdict_text(analyse_answers(paper, papers_answers(paper)))
    assert "2 readers judged 40 images (20 MR and 20 CT; all phony), 80 answers" in text
    assert "in general" not in text
