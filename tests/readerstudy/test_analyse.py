"""What the answers show: known small tables by hand, degenerate answers, exclusions and departures."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.errors import StudyError
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.readerstudy.analyse import analyse_study
from phonybrains.readerstudy.config import load_study_config
from phonybrains.readerstudy.design.order import presentations
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.findings.analysis import Analysis, analyse_answers
from phonybrains.readerstudy.findings.departures import list_departures
from phonybrains.readerstudy.findings.figures import map_marks, unanimous
from phonybrains.readerstudy.findings.reads import Finding, find, join
from phonybrains.readerstudy.findings.registered import Tested, register
from phonybrains.readerstudy.findings.shares import pooled_share
from phonybrains.readerstudy.report.opening import exploratory_text, verdict_text
from phonybrains.readerstudy.report.paper import call_counts
from phonybrains.readerstudy.study import Answer, Call, Mark, Study, protocol_hash
from phonybrains.statistics.proportions import clopper_pearson, wilson


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The paper's design: 20 MR and 20 CT, all phony, readers A and B."""
    folder = tmp_path_factory.mktemp("paper")
    samples = make_phantoms(60, folder / "samples", seed=2, size=64)
    return Study.open(design_study([samples], None, folder / "study", load_study_config("paper", seed=1), show=False))


@pytest.fixture(scope="module")
def controlled(study: Study) -> Study:
    return study


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


def read_by(study: Study, readers: Sequence[str], calls: Mapping[str, Call], **given: Any) -> list[Answer]:
    """All presentations of several readers who answer alike."""
    return [answer for name in readers for answer in read_all(study, name, calls, **given)]


def need(analysis: Analysis, quantity: str, **labels: str) -> Finding:
    finding = find(analysis.findings, quantity, **labels)
    assert finding is not None, (quantity, labels)
    return finding


def figures_of(finding: Finding) -> tuple[float, float, float]:
    """Value and limits, where there are any."""
    assert finding.value is not None
    assert finding.low is not None
    assert finding.high is not None
    return finding.value, finding.low, finding.high


def registered_test(study: Study, answers: Sequence[Answer]) -> Tested:
    test = register(study, join(study, answers), ()).test
    assert test is not None
    return test


def test_the_papers_counts_come_out_of_its_answers(paper: Study):
    """Fig. 5: 14, 4, 2 and 3, 17, 0 of A; 10, 10, 0 and 2, 18, 0 of B; nothing on real images. With the calls in order
    of the ids, both call 10 MR and 2 CT real, and 4 MR and 17 CT phony."""
    each_its_own = {key: replace(case, patient_id="") for key, case in paper.cases.items()}
    analysis = analyse_answers(replace(paper, cases=each_its_own), papers_answers(paper))
    assert call_counts(analysis) == {
        ("phony", "MR", "A"): (14, 4, 2),
        ("phony", "MR", "B"): (10, 10, 0),
        ("phony", "CT", "A"): (3, 17, 0),
        ("phony", "CT", "B"): (2, 18, 0),
    }
    called = need(analysis, "called real", reader="A", unclear="not real")
    assert called.value == pytest.approx(17 / 40)
    assert (called.low, called.high) == pytest.approx((wilson(17, 40).low, wilson(17, 40).high))
    assert f"{clopper_pearson(17, 40).low:.4f}" in called.note
    assert need(analysis, "called real", reader="A", unclear="left out").n == 38
    assert need(analysis, "phony images called unclear", reader="A", modality="MR").value == 2
    for call, both in (("real", [10, 2]), ("phony", [4, 17])):
        cases = [one.case.modality for one in unanimous(analysis.cases, call, 2)]
        assert [cases.count(modality) for modality in ("MR", "CT")] == both
    assert need(analysis, "agreement").value == pytest.approx(33 / 40)


def test_images_of_one_patient_widen_every_interval(paper: Study, controlled: Study):
    """With all images of five patients, shares, areas and the registered figure know less; the number is said."""
    for study in (paper, planned(controlled, readers=("A", "B"))):
        widths = []
        for patients in (99, 5):
            cases = {
                key: replace(case, patient_id=f"{case.truth} {i % patients}")
                for i, (key, case) in enumerate(sorted(study.cases.items()))
            }
            whole = replace(study, cases=cases)
            calls: dict[str, Call] = {key: ("real", "phony")[i % 5 % 2] for i, key in enumerate(sorted(cases))}
            given = [answer for answer in read_by(whole, "AB", calls) if answer.kind == "test"]
            analysis = analyse_answers(whole, given)
            test, called = analysis.registered.test, need(analysis, "called real", reader="A", unclear="not real")
            assert test is not None
            limits = [figures_of(one)[1:] for one in (test.primary, called)]
            widths.append([high - low for low, high in limits])
        assert all(few > 1.2 * many for many, few in zip(*widths, strict=True))
        if study is not paper:
            assert "12 real, of 5 patients" in verdict_text(analysis)


def test_an_all_synthetic_design_claims_nothing_on_real_images(paper: Study):
    """Where no image was real, no figure and no word is on whether readers can tell; of two, none on readers in
    general."""
    analysis = analyse_answers(paper, papers_answers(paper))
    given = {finding.quantity for finding in analysis.findings}
    skill = ("sensitivity", "specificity", "accuracy", "AUC", "d'", "criterion", "confidence")
    assert not any(word in name for name in given for word in skill)
    text = " ".join([verdict_text(analysis), exploratory_text(analysis)])
    assert not re.search("chance|told|found|skill|sensitiv|better", text)
    assert "2 readers judged 40 images (20 MR and 20 CT; all phony), 80 answers" in verdict_text(analysis)
    assert "in general" not in verdict_text(analysis)


def test_a_perfect_reader_has_all_figures_at_one(controlled: Study):
    """Sensitivity, specificity, accuracy and area of a reader who is always right are 1, repeats agree."""
    analysis = analyse_answers(controlled, read_by(controlled, "ABC", truthful(controlled), confidence=90))
    for quantity in ("sensitivity", "specificity", "accuracy"):
        assert need(analysis, quantity, reader="A", unclear="not phony").value == 1
    for quantity in ("AUC, these readers", "AUC, readers in general"):
        value, low, _ = figures_of(need(analysis, quantity))
        assert low < value == 1
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
    assert any("'A' did not finish: of 34 presentations, 14 were not answered" in text for text in analysis.departures)
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


def planned(study: Study, **plan: Any) -> Study:
    """The study as if this plan and these readers had been registered."""
    readers = plan.pop("readers", study.config.readers)
    config = study.config.model_copy(update={"readers": readers, "plan": study.config.plan.model_copy(update=plan)})
    return replace(study, config=config, protocol={**study.protocol, "config": config.model_dump(mode="json")})


def alternating(study: Study) -> dict[str, Call]:
    """Half of the images of each truth called real, half phony: nothing is told apart."""
    calls: dict[str, Call] = truthful(study)
    for truth in ("real", "phony"):
        own = sorted(case.case_id for case in study.of_role("test") if case.truth == truth)
        calls |= {case_id: ("real", "phony")[i % 2] for i, case_id in enumerate(own)}
    return calls


@pytest.mark.parametrize("primary", ["auc", "balanced_accuracy"])
@pytest.mark.parametrize(
    ("hypothesis", "calls", "shown"),
    [("difference", "alternate", False), ("difference", "truth", True), ("equivalence", "truth", False)],
)
def test_the_registered_hypothesis_is_tested(controlled: Study, primary: str, hypothesis: str, calls: str, shown: bool):
    """A right reader differs from chance and is not equivalent to it; one who alternates is not shown to differ."""
    study = planned(controlled, hypothesis=hypothesis, primary=primary, readers=("A",))
    said = truthful(study) if calls == "truth" else alternating(study)
    test = registered_test(study, [a for a in read_all(study, "A", said) if a.kind == "test"])
    assert test.shown is shown
    assert "this reader" in test.sentence.lower()


def test_equivalence_takes_many_images(paper: Study):
    """20 of 40 called real is as near to one half as can be, and still shows no equivalence within ± .10."""
    study = planned(paper, hypothesis="equivalence", readers=("A",))
    calls: dict[str, Call] = {case_id: ("real", "phony")[i % 2] for i, case_id in enumerate(sorted(paper.cases))}
    test = registered_test(study, read_all(study, "A", calls))
    assert (test.primary.value, test.shown) == (0.5, False)
    assert test.p is not None
    assert test.p > 0.05


def test_unclear_counts_one_half_in_every_primary_figure(controlled: Study, paper: Study):
    """Who says unclear of everything is at one half, and that is no difference from it."""
    for study, primary in ((controlled, "auc"), (controlled, "balanced_accuracy"), (paper, "called_real")):
        asked = planned(study, hypothesis="difference", primary=primary, readers=("A",))
        test = registered_test(asked, read_all(asked, "A", "unclear"))
        value, low, high = figures_of(test.primary)
        assert test.shown is False
        assert low < value == 0.5 < high


def test_half_the_doubt_of_balanced_accuracy_by_hand(controlled: Study):
    """All phony called phony, all real unclear: (1 + 1/2) / 2."""
    study = planned(controlled, primary="balanced_accuracy", readers=("A",))
    said: dict[str, Call] = {k: "phony" if call == "phony" else "unclear" for k, call in truthful(study).items()}
    test = registered_test(study, [a for a in read_all(study, "A", said) if a.kind == "test"])
    assert test.primary.value == pytest.approx(0.75)


# --- Drop-outs -------------------------------------------------------------------------------------------------------


def of_test(study: Study, reader: str, most: int = 99) -> list[Answer]:
    return [answer for answer in read_all(study, reader, truthful(study)) if answer.kind == "test"][:most]


def test_one_drop_out_never_replaces_the_registered_test(controlled: Study):
    """Of two planned readers one gives one answer: there is no registered result, the other's is called a departure."""
    study = planned(controlled, hypothesis="difference", readers=("A", "B"))
    analysis = analyse_answers(study, [*of_test(study, "A"), *of_test(study, "B", 1)])
    assert analysis.registered.test is None
    assert "A and B together, and only A counts" in analysis.registered.reasons[0]
    assert analysis.registered.instead is not None
    assert analysis.registered.instead.readers == ("A",)
    text = verdict_text(analysis)
    assert "could not be carried out as planned" in text
    assert "better than chance" not in text
    assert any("'B' does not count in the registered test" in departure for departure in analysis.departures)


@pytest.mark.parametrize(("left", "carried_out"), [(("A", "B"), False), (("A", "B", "C"), True)])
def test_readers_in_general_take_three_who_count(controlled: Study, left: tuple[str, ...], carried_out: bool):
    """Registered for readers in general with four: three who are left carry it, two do not, and nobody swaps it."""
    study = planned(controlled, hypothesis="difference", readers=("A", "B", "C", "D"))
    answers = [answer for name in left for answer in of_test(study, name)]
    analysis = analyse_answers(study, answers, sources=dict.fromkeys("ABCD", "invited"))
    registered = analysis.registered
    assert registered.population == "readers in general"
    assert (registered.test is not None) is carried_out
    if registered.test is None:
        assert registered.instead is not None
        assert registered.instead.population == "these readers"
        assert "takes three of them; 2 of 4 planned count" in registered.reasons[0]
    assert any("Planned were 4 readers" in departure for departure in analysis.departures)


def test_an_incomplete_reader_costs_no_other_readers_cases(controlled: Study):
    """A reader who stops after two thirds counts with what he or she read; the others keep all 24 cases."""
    study = planned(controlled, readers=("A", "B", "C"))
    test = registered_test(study, [*of_test(study, "A"), *of_test(study, "B"), *of_test(study, "C", 16)])
    assert (test.primary.n, test.readers) == (24, ("A", "B", "C"))


def test_added_readers_do_not_count_in_the_registered_test(controlled: Study):
    """A fourth reader whom the plan does not name changes nothing of the registered result, and is a departure."""
    study = planned(controlled, hypothesis="difference", readers=("A", "B"))
    own = [*of_test(study, "A"), *read_all(study, "B", alternating(study))]
    with_more = [*own, *of_test(study, "D"), *of_test(study, "E")]
    one, other = analyse_answers(study, own), analyse_answers(study, with_more)
    assert one.registered.test == other.registered.test
    assert other.registered.population == "these readers"
    assert any("not in the registered test: D and E" in departure for departure in other.departures)


def test_the_registered_test_is_shown_with_and_without_excluded_readers(controlled: Study):
    """Who fails the checks is not in the registered result, and the result with him or her stands beside it."""
    study = planned(controlled, hypothesis="difference", readers=("A", "B", "C", "D"))
    answers = [*read_by(study, "ABC", truthful(study)), *read_all(study, "D", "real")]
    registered = analyse_answers(study, answers).registered
    assert registered.test is not None
    assert registered.with_left_out is not None
    found = {one.readers: one.primary.value for one in (registered.test, registered.with_left_out)}
    assert found == {("A", "B", "C"): 1, ("A", "B", "C", "D"): pytest.approx(0.875)}
    assert registered.left_out == ("D",)


def of_before(study: Study, folder: Path, primary: str) -> Path:
    """The study as version 1 of the protocol had it."""
    shutil.copytree(study.folder, folder)
    protocol = json.loads((folder / "protocol.json").read_text()) | {"version": 1}
    protocol["config"]["plan"] = {"primary": primary, "level": 0.95}
    protocol["hash"] = protocol_hash(protocol)
    (folder / "protocol.json").write_text(json.dumps(protocol))
    return folder


def test_a_protocol_of_before_is_read_and_its_plan_not_said_to_be_followed(controlled: Study, tmp_path: Path):
    """Version 1 registered other tests: what is reckoned now is a departure, and a plan for accuracy is refused."""
    study = Study.open(of_before(controlled, tmp_path / "auc", "auc"))
    registered = analyse_answers(study, [a for name in ("A", "B") for a in of_test(study, name)]).registered
    assert registered.test is None
    assert "earlier phonybrains" in registered.reasons[0]
    assert registered.instead is not None
    with pytest.raises(StudyError, match="'accuracy' was withdrawn"):
        Study.open(of_before(controlled, tmp_path / "accuracy", "accuracy"))


# --- Departures ------------------------------------------------------------------------------------------------------


def test_departures_are_found_by_comparing_plan_and_data(controlled: Study):
    """Level, code, versions, order, time and origin of the answers are compared with what was frozen."""
    changed = planned(controlled, readers=("A", "B"))
    plan = changed.config.plan.model_copy(update={"level": 0.9})
    protocol = {**changed.protocol, "code": "0" * 64, "versions": {"python": "2.7"}, "created": "2026-06-01T12:00:00Z"}
    study = replace(changed, config=changed.config.model_copy(update={"plan": plan}), protocol=protocol)
    order = [answer for answer in read_all(study, "A", truthful(study)) if answer.kind == "test"]
    swapped = [replace(order[0], case_id=order[1].case_id), replace(order[1], case_id=order[0].case_id), *order[2:]]
    early = [replace(answer, answered_at="2026-05-01T12:00:00.000Z") for answer in swapped]
    analysis = analyse_answers(study, [*early, *of_test(study, "B")], sources={"A": "invited", "B": "imported"})
    text = "\n".join(analysis.departures)
    for said in (
        "plan.level is 0.9; registered was 0.95",
        "The code of the reader study",
        "python 2.7 →",
        "'A': 2 images came at another place",
        "reader 'B' were collected elsewhere",
        "4 repeat",
    ):
        assert said in text
    only = analyse_answers(study, early, sources={"A": "invited"})
    assert only.frozen_first is False
    assert any("before the protocol was frozen" in departure for departure in only.departures)


def test_a_reading_as_planned_has_no_departure(controlled: Study):
    """All of the named readers to the end, in order, in time: nothing is listed, and the protocol came first."""
    study = planned(controlled, readers=("A", "B"))
    own = read_by(study, "AB", truthful(study), confidence=70)
    answers = [replace(a, answered_at=f"2126-01-01T12:{a.position:02d}:00.000Z") for a in own]
    analysis = analyse_answers(study, answers, sources={"A": "invited", "B": "invited"})
    assert analysis.departures == ()
    assert analysis.frozen_first is True
    assert analysis.origin == "The answers of A and B were given in the browser to this study's server."
    imported = analyse_answers(study, answers, sources={"A": "invited", "B": "imported"})
    assert imported.frozen_first is None
    assert "B were collected elsewhere" in imported.origin
    assert list_departures(study, imported.reads, imported.participants, imported.registered, ["x"])[0] == "x"


# --- Words against figures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_no_sentence_contradicts_its_table(controlled: Study, paper: Study, seed: int):
    """For random readers, plans and drop-outs the registered sentence says what figure, interval and p say."""
    rng = np.random.default_rng(seed)
    study = (controlled, controlled, paper)[seed % 3]
    primary = "called_real" if study is paper else ("auc", "balanced_accuracy")[seed % 2]
    names = tuple("ABCDE"[: rng.integers(1, 6)])
    plan = {"hypothesis": ("difference", "equivalence")[seed // 3 % 2], "margin": float(rng.uniform(0.05, 0.45))}
    study = planned(study, primary=primary, readers=names, **plan)
    knows, leans, doubts = rng.choice([0.0, 0.3, 0.9]), rng.random(), rng.choice([0.0, 0.3])
    answers = []
    for answer in read_by(study, names, truthful(study)):
        guess: Call = "unclear" if rng.random() < doubts else "real" if rng.random() < leans else "phony"
        call = answer.call if rng.random() < knows else guess
        answers.append(replace(answer, call=call, confidence=int(rng.integers(101))))
    kept = [answer for answer in answers if rng.random() > 0.2 or answer.reader != names[-1]]
    registered = register(study, [read for read in join(study, kept) if read.answer.kind == "test"], ())
    for test in (registered.test, registered.instead, registered.with_left_out):
        if test is None:
            continue
        (value, low, high), p = figures_of(test.primary), test.p
        assert p is not None
        assert 0 < p <= 1
        assert 0 <= low <= value <= high <= 1
        assert low < high
        words, margin = test.sentence, study.config.plan.margin
        better = "better than chance" in words or "more often than half" in words
        worse = "more readily" in words or "less often than half (" in words
        assert better == (plan["hypothesis"] == "difference" and p < 0.05 and low > 0.5)
        assert worse == (plan["hypothesis"] == "difference" and p < 0.05 and high < 0.5)
        equal = "was shown" in words
        assert equal == (plan["hypothesis"] == "equivalence" and p < 0.05)
        if equal:
            assert abs(value - 0.5) < margin
        if study.config.plan.primary == "called_real":
            assert not re.search("chance|told", words)
        whose = {"these readers", "readers in general", "this reader"}
        assert sum(who in words.lower() for who in whose) == 1
        assert ("readers in general" in words.lower()) == (len(names) > 2 and test is not registered.instead)


def test_marks_are_counted_where_they_lie(controlled: Study):
    """The map of one mark has its peak there."""
    case = next(case for case in controlled.of_role("test") if case.truth == "phony")
    answers = [Answer("A", 1, "test", case.case_id, "phony", marks=(Mark(0.25, 0.75),))]
    (heat,) = map_marks(controlled, join(controlled, answers))
    row, column = np.unravel_index(heat.density.argmax(), heat.density.shape)
    assert (row, column) == (int(0.75 * controlled.height), int(0.25 * controlled.width))
    assert (heat.modality, heat.marks) == (case.modality, 1)


def test_arms_are_compared_by_the_same_readers(controlled: Study):
    """Of two arms, one always and one never found out, the difference of sensitivity is 1 and its p small."""
    cases = {
        key: case if case.truth == "real" or i % 2 else replace(case, arm="other")
        for i, (key, case) in enumerate(sorted(controlled.cases.items()))
    }
    study = replace(controlled, cases=cases)
    said: dict[str, Call] = {key: "phony" if case.arm == "other" else "real" for key, case in cases.items()}
    analysis = analyse_answers(study, [answer for answer in read_by(study, "AB", said) if answer.kind == "test"])
    finding = need(analysis, "difference of sensitivity", arm="other less samples")
    assert finding.value == pytest.approx(1)
    assert finding.p is not None
    assert finding.p < 0.05
