"""The frozen protocol: what its hash covers, what its sentences say, and the page for an ethics board."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from phonybrains.readerstudy.design.plan import limits_of, plan_sentences
from phonybrains.readerstudy.design.protocol import code_hash
from phonybrains.readerstudy.design.stage import design_study
from phonybrains.readerstudy.study import Study, protocol_hash
from tests.support.study_files import small_config

SECRET = 918_273_645_546_372


@pytest.fixture(scope="module")
def folder(sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small_config(name="Köpfe <b>&", plan={"hypothesis": "equivalence"}, seed=SECRET)
    return design_study([sets[0]], sets[1], tmp_path_factory.mktemp("protocol") / "study", config, show=False)


def text_of(page: str) -> str:
    """What a person reads of a page."""
    text = re.sub("<[^>]*>", " ", page[page.index("<body>") :])
    return " ".join(html.unescape(text).split())


def test_the_hash_covers_all_but_the_time(folder: Path) -> None:
    """Any change of the content changes the hash; `created` alone does not."""
    protocol = json.loads((folder / "protocol.json").read_text())
    assert protocol["hash"] == protocol_hash(protocol)
    assert protocol_hash(protocol | {"created": "later"}) == protocol["hash"]
    for key in set(protocol) - {"hash", "created"}:
        assert protocol_hash(protocol | {key: "changed"}) != protocol["hash"], key
    assert re.fullmatch("[0-9a-f]{64}", protocol["code"])
    assert protocol["code"] == code_hash()
    assert [origin["name"] for origin in protocol["inputs"]] == ["samples", "corpus"]


def test_the_page_says_all_an_ethics_board_asks(folder: Path) -> None:
    """Purpose, cases, readers, order, blinding, plan, limits, data protection and hash, with this study's numbers."""
    text = text_of((folder / "protocol.html").read_text(encoding="utf-8"))
    study = Study.open(folder)
    headings = "Purpose|Cases|Readers|Order|Blinding|Plan of the analysis|What this design cannot show|Data protection"
    wanted = [*headings.split("|"), "What was frozen", "Köpfe <b>&", study.hash]
    wanted += ["Each sees 34 images: 4 for training, 24 test cases, 4 repeats and 2 checks"]
    wanted += ["2 readers take part: reader 1, reader 2", "within 0.5 ± 0.1, shown by two one-sided tests"]
    wanted += ["two readers nothing can be said about readers in general"]
    wanted += [*study.protocol["plan"], *study.protocol["limits"], *study.protocol["warnings"]]
    assert [words for words in wanted if " ".join(words.split()) not in text] == []


def test_the_page_needs_nothing_else_and_keeps_the_secret(folder: Path) -> None:
    """No script, no address to load from, no case id, and not the seed."""
    page = (folder / "protocol.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|https?:|src=|@import|url\(", page)
    assert str(SECRET) not in page
    assert not any(case_id in page for case_id in Study.open(folder).cases)


def test_limits_name_what_an_all_synthetic_design_lacks() -> None:
    """40 synthetic images and two readers: no specificity, no readers in general, ± 16 points."""
    counts = {"test": 40, "training": 0, "check": 0, "repeat": 0, "arms": {"model": {"MR": 20, "CT": 20}}}
    text = " ".join(limits_of(small_config(real={}, plan={"primary": "called_real"}), counts))
    assert "specificity cannot be estimated" in text
    assert "nothing can be said about readers in general" in text
    assert "± 16 percentage points" in text  # Clopper-Pearson for 20 of 40: 0.338 to 0.662


def test_limits_of_a_controlled_design() -> None:
    """With controls and three readers, the width of an AUC's interval is said instead."""
    counts = {"test": 80, "training": 0, "check": 0, "repeat": 0, "arms": {"real": {"MR": 40}, "model": {"MR": 40}}}
    text = " ".join(limits_of(small_config(readers=["A", "B", "C"]), counts))
    assert "specificity" not in text
    assert "in general" not in text
    assert re.search(r"AUC of 0\.75 has an interval of about 0\.6\d to 0\.8\d", text)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"primary": "called_real"}, "share of phony images that readers call real"),
        ({"hypothesis": "difference"}, "AUC differs from 0.5, tested two-sided at 0.05"),
        ({"hypothesis": "estimate"}, "No hypothesis is tested"),
        ({"unclear": "left out"}, "'unclear' are left out"),
        ({"checks_passed": 0.5}, "more than 50% of the 2 attention checks"),
    ],
)
def test_the_plan_says_what_the_configuration_asks(plan: dict[str, str], said: str) -> None:
    """Every choice of the plan is in its sentences."""
    counts = {"test": 24, "training": 4, "check": 2, "repeat": 4, "arms": {}}
    assert said in " ".join(plan_sentences(small_config(plan=plan), counts, 4))
