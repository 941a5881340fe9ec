"""The plan of the analysis in sentences, as it is registered, and what a design cannot show."""

from __future__ import annotations

from typing import Any

from ..statistics.proportions import clopper_pearson
from ..statistics.roc import score_interval
from .config import StudyConfig

PRIMARY = {
    "auc": "The primary figure is the area under the ROC curve (AUC) for telling phony from real images, the mean over "
           "readers, each reader's scored as: phony 100 + confidence, unclear 100, real 100 - confidence.",
    "accuracy": "The primary figure is the share of test cases called rightly, the mean over readers.",
    "called_real": "The primary figure is the share of phony images that readers call real.",
}  # fmt: skip
UNCLEAR = {
    "not phony": "'Unclear' counts as not phony in sensitivity and specificity",
    "phony": "'Unclear' counts as phony in sensitivity and specificity",
    "left out": "Answers 'unclear' are left out of sensitivity and specificity",
}


def plan_sentences(config: StudyConfig, counts: dict[str, Any], repeats: int) -> list[str]:
    """What will be worked out and how, fixed before the first answer."""
    plan, several = config.plan, len(config.readers) > 2
    sentences = [PRIMARY[plan.primary], _hypothesis(config)]
    sentences.append(f"All intervals have a level of {plan.level:.0%}. {UNCLEAR[plan.unclear]}; in agreement it is a "
                     "category of its own. The report shows the other ways to treat it beside this.")  # fmt: skip
    sentences.append(
        "Readers and cases count as drawn at random (Obuchowski-Rockette); the results for these readers alone "
        "are shown beside." if several else "No claim about readers in general is made from so few readers: the "
        "analysis holds for these readers, and only cases count as drawn at random."
    )  # fmt: skip
    if counts["check"]:
        sentences.append(f"A reader who calls more than {1 - plan.checks_passed:.0%} of the {counts['check']} "
                         "attention checks real is left out of the main analysis; the report shows the results with "
                         "and without such readers.")  # fmt: skip
    if repeats:
        sentences.append(f"{repeats} cases are shown twice. The first answer alone counts in the main analysis; both "
                         "together give each reader's agreement with himself or herself.")  # fmt: skip
    if counts["training"]:
        sentences.append("Answers to training cases are not analysed.")
    sentences.append("Secondary figures: sensitivity and specificity, agreement between readers (Cohen's and Fleiss' "
                     "kappa, Gwet's AC1), all of them for each modality and each synthetic set; time for each case, "
                     "and change over time. They are descriptive: no correction for their number is made.")  # fmt: skip
    sentences.append("There is no interim analysis. The truth is opened when every reader has finished or was "
                     "withdrawn, and what departed from this plan is reported.")  # fmt: skip
    return sentences


def _hypothesis(config: StudyConfig) -> str:
    plan = config.plan
    figure = {"auc": "AUC", "accuracy": "accuracy", "called_real": "share called real"}[plan.primary]
    alpha = 1 - plan.level
    if plan.hypothesis == "difference":
        return f"Hypothesis: the {figure} differs from 0.5, tested two-sided at {alpha:.2g}."
    if plan.hypothesis == "equivalence":
        return (f"Hypothesis: the {figure} lies within 0.5 ± {plan.margin:g}, shown by two one-sided tests at "
                f"{alpha:.2g} each.")  # fmt: skip
    return f"No hypothesis is tested: the {figure} is reported with its interval."


def limits_of(config: StudyConfig, counts: dict[str, Any]) -> list[str]:
    """What this design cannot show, in plain words."""
    real = sum(counts["arms"].get("real", {}).values())
    phony = counts["test"] - real
    limits = []
    if not real:
        limits.append("All images are synthetic, so specificity cannot be estimated: a reader who calls everything "
                      "real looks the same as images that deceive. It shows how often phony images pass, nothing "
                      "more.")  # fmt: skip
    if len(config.readers) < 3:
        limits.append(f"With {'one reader' if len(config.readers) == 1 else 'two readers'} nothing can be said about "
                      "readers in general; the results hold for these people.")  # fmt: skip
    half = clopper_pearson(phony // 2, phony, config.plan.level)
    limits.append(f"With {phony} phony cases, one reader's share called real near one half has an interval of about "
                  f"± {100 * (half.high - half.low) / 2:.0f} percentage points.")  # fmt: skip
    if real:
        auc = score_interval(0.75, phony, real, config.plan.level)
        limits.append(f"With {phony} phony and {real} real cases, one reader's AUC of 0.75 has an interval of about "
                      f"{auc.low:.2f} to {auc.high:.2f}.")  # fmt: skip
        limits.append("Readers know that some images are phony and look for it, so the study does not show what they "
                      "would notice in daily work.")  # fmt: skip
    limits.append("Images are shown one at a time as single slices; nothing is said about whole examinations, nor "
                  "about the images' use for diagnosis or training.")  # fmt: skip
    return limits
