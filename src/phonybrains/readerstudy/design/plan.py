"""The plan of the analysis in sentences, as it is registered, and what a design cannot show."""

from __future__ import annotations

from typing import Any

from ...reporting.wording import listed
from ...statistics.proportions import clopper_pearson
from ...statistics.roc import score_interval
from ...wording import count_of
from ..config import StudyConfig

PRIMARY = {
    "auc": "The primary figure is the area under the ROC curve (AUC) for telling phony from real images, each reader's "
    "scored as: phony 100 + confidence, unclear 100, real 100 - confidence.",
    "balanced_accuracy": "The primary figure is balanced accuracy: the mean of the share of phony images called phony "
    "and of the share of real images called real, 'unclear' counting one half in both.",
    "called_real": "The primary figure is the share of phony images that readers call real, 'unclear' counting one "
    "half. It tells how often phony images pass, and nothing of whether readers can tell: a leaning towards "
    "saying real moves it as much.",
}
FIGURES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy", "called_real": "share called real"}
RANDOMISED = dict.fromkeys(FIGURES, "the truth exchanged at random among the images of a modality") | {
    "called_real": "calls of real and of phony exchanged at random, image by image"
}
LEAST_READERS = 3
"""From fewer readers nothing is claimed about readers in general."""
UNCLEAR = {
    "not phony": "'unclear' counts as not phony in",
    "phony": "'unclear' counts as phony in",
    "left out": "answers 'unclear' are left out of",
}


def plan_sentences(config: StudyConfig, counts: dict[str, Any], repeats: int) -> list[str]:
    """What will be worked out and how, fixed before the first answer."""
    plan = config.plan
    sentences = [PRIMARY[plan.primary], *_hypothesis(config), *_population(config)]
    if counts["check"]:
        sentences.append(
            f"A reader who calls more than {1 - plan.checks_passed:.0%} of the "
            f"{count_of(counts['check'], 'attention check')} real "
            "is left out of the main analysis; the report shows the registered test with and without such readers."
        )
    if repeats:
        sentences.append(
            f"{count_of(repeats, 'case is', 'cases are')} shown twice. The first answer alone counts in the main "
            "analysis; both together give each reader's agreement with himself or herself."
        )
    if counts["training"]:
        sentences.append("Answers to training cases are not analysed.")
    real = "real" in counts["arms"] or plan.primary != "called_real"
    skill = "sensitivity and specificity, " if real else "how often images are called real, "
    treated = (
        f"There {UNCLEAR[plan.unclear]} sensitivity and specificity, with the other ways to treat it beside. "
        if real
        else ""
    )
    sentences.append(
        f"All else is exploratory: {skill}agreement between readers (Cohen's and Fleiss' kappa, Gwet's AC1), each "
        f"modality, each synthetic set and each reader; time for each case, and change over time. {treated}In "
        "agreement 'unclear' is a category of its own. All p of the exploratory part are corrected together (Holm)."
    )
    sentences.append(
        "There is no interim analysis. The truth is opened when every reader has finished or was "
        "withdrawn, and what departed from this plan is reported."
    )
    return sentences


def _hypothesis(config: StudyConfig) -> list[str]:
    plan, figure = config.plan, FIGURES[config.plan.primary]
    alpha = f"{1 - plan.level:.2g}"
    level = f"All intervals have a level of {plan.level:.0%}, on the logit scale for the primary figure."
    if plan.hypothesis == "difference":
        return [
            f"Hypothesis: the {figure} differs from 0.5, tested two-sided at {alpha}.",
            "Its p is the larger of two, that of Obuchowski and Rockette's model on the logit scale and that of a "
            f"randomisation ({RANDOMISED[plan.primary]}), so that a reader who guesses, however he or she leans, is "
            f"taken for more in {alpha} of studies at most.",
            f"{level} It is widened to 0.5 where the test does not exclude that.",
        ]
    if plan.hypothesis == "equivalence":
        return [
            f"Hypothesis: the {figure} lies within 0.5 ± {plan.margin:g}, shown by two one-sided tests at "
            f"{alpha} each, on the logit scale.",
            level,
        ]
    return [f"No hypothesis is tested: the {figure} is reported with its interval.", level]


def _population(config: StudyConfig) -> list[str]:
    """Of whom the result speaks, and what becomes of it where readers drop out."""
    plan, readers = config.plan, config.readers
    weight = "answers" if plan.primary == "called_real" else "pairs of a phony and a real image"
    counts = (
        f"Each reader counts with the cases that he or she answered, and weighs as many as these have {weight}; one "
        f"who answered fewer than {plan.answered:.0%} of the phony or of the real cases that the figure needs does "
        "not count in the registered test, nor does a reader whom this plan does not name."
    )
    if len(readers) >= LEAST_READERS:
        return [
            "The claim is about readers in general and images in general: both count as drawn at random, images by "
            "patient (Obuchowski-Rockette, Hillis).",
            counts,
            f"If fewer than {LEAST_READERS} readers count, the registered test is not carried out: the report says "
            "so, and gives the figure for those who remain as a departure from the plan.",
        ]
    return [
        f"No claim about readers in general is made from so few readers: the result holds for {listed(readers)}, and "
        "only images count as drawn at random, by patient.",
        counts,
        "If one of them does not count, the registered test is not carried out: the report says so, and gives the "
        "figure for those who remain as a departure from the plan.",
    ]


def limits_of(config: StudyConfig, counts: dict[str, Any]) -> list[str]:
    """What this design cannot show, in plain words."""
    real = sum(counts["arms"].get("real", {}).values())
    phony = counts["test"] - real
    limits = []
    if not real:
        limits.append(
            "All images are synthetic, so specificity cannot be estimated: a reader who calls everything real looks "
            "the same as images that deceive. It shows how often phony images pass, nothing more."
        )
    if len(config.readers) < 3:
        limits.append(
            f"With {'one reader' if len(config.readers) == 1 else 'two readers'} nothing can be said about "
            "readers in general; the results hold for these people."
        )
    half = clopper_pearson(phony // 2, phony, config.plan.level)
    limits.append(
        f"With {phony} phony cases, one reader's share called real near one half has an interval of about "
        f"± {100 * (half.high - half.low) / 2:.0f} percentage points."
    )
    if real:
        auc = score_interval(0.75, phony, real, config.plan.level)
        limits.append(
            f"With {phony} phony and {real} real cases, one reader's AUC of 0.75 has an interval of about "
            f"{auc.low:.2f} to {auc.high:.2f}."
        )
        if _uneven(counts["arms"]):
            limits.append(
                "Modalities have other shares among phony than among real images: a reader who leans more in one "
                "of them is off chance without telling anything apart. The randomisation is within each "
                "modality, and takes no such leaning for skill."
            )
        limits.append(
            "Readers know that some images are phony and look for it, so the study does not show what they "
            "would notice in daily work."
        )
    limits.append(
        "Images are shown one at a time as single slices; nothing is said about whole examinations, nor "
        "about the images' use for diagnosis or training."
    )
    return limits


def _uneven(arms: dict[str, dict[str, int]]) -> bool:
    """Whether the modalities have not the same shares among phony as among real images."""
    real = arms.get("real", {})
    synthetic = [own for name, own in arms.items() if name != "real"]
    phony = {modality: sum(own.get(modality, 0) for own in synthetic) for arm in arms.values() for modality in arm}
    totals = sum(real.values()), sum(phony.values())
    return len({n * totals[0] - real.get(modality, 0) * totals[1] for modality, n in phony.items()}) > 1
