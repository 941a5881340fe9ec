"""What each score is called in the report, what it means, and how a figure of it is written."""

from __future__ import annotations

from ...reporting.wording import NONE, number
from ..config import Part
from ..quality.nulls import Better
from ..score import Null, Score

PART_QUESTIONS: dict[Part, str] = {
    "quality": "Is it good?",
    "memorisation": "Is it new?",
    "bias": "Is it fair?",
    "utility": "Is it useful?",
}

MEANINGS: dict[str, tuple[str, str, Better]] = {
    "kid": ("KID", "kernel distance of features; 0 for one and the same source", "low"),
    "kid_of_all": ("KID of all images", "the same over all images, in blocks", "low"),
    "mmd_rbf": ("MMD (RBF)", "kernel distance of features, Gaussian kernel; 0 for one and the same source", "low"),
    "fid": ("FID", "Fréchet distance of Inception features; grows as n falls", "low"),
    "frd": ("FRD", "Fréchet radiomics distance, the log of its square; grows as n falls", "low"),
    "fd": ("Fréchet distance", "of features; grows as n falls, so that only its null makes it readable", "low"),
    "fd_handcrafted": ("Fréchet distance, handcrafted", "of histogram, spectrum, texture and layout; never FID", "low"),
    "precision": ("Precision", "share of synthetic images that lie among the real ones", "high"),
    "precision_of_all": ("Precision of all images", "the same over all images, in blocks", "high"),
    "recall": ("Recall", "share of real images that lie among the synthetic ones", "high"),
    "density": ("Density", "how densely synthetic images lie among the real ones", "near"),
    "coverage": ("Coverage", "share of real images with a synthetic one nearby", "high"),
    "ms_ssim_diversity": ("MS-SSIM of pairs", "likeness of images of one set; 1 if all are equal", "near"),
    "c2st_auc": ("Told apart, AUC", "a logistic classifier tells synthetic from real; chance is 0.5", "low"),
    "c2st_accuracy": ("Told apart, share right", "of the same classifier; chance is 0.5", "low"),
    "c2st_forest_auc": ("Told apart by a forest, AUC", "the same with a forest of random trees", "low"),
    "c2st_forest_accuracy": ("Told apart by a forest, right", "of the same forest; chance is 0.5", "low"),
    "c2st_network_auc": ("Told apart by a network, AUC", "the same with a small network on the images", "low"),
    "c2st_network_accuracy": ("Told apart by a network, right", "of the same network; chance is 0.5", "low"),
    "spectrum_worst_db": ("Spectrum, worst band", "largest deviation of the mean power spectrum, dB", "low"),
    "noise_ratio": ("Noise, ratio", "median noise over that of real images; 1 is as real", "near"),
    "prevalence": ("Share of images", "with this value of the attribute, beside the real images' share", "near"),
    "in_both_sets": ("Images in both sets", "byte for byte", "low"),
    "repeated_images": ("Repeated images", "byte-equal to another of the set", "low"),
    "copies_flagged": ("Nearer than threshold", "share of images nearer to a training image than the threshold", "low"),
    "copies_beyond_held_out": ("Nearer than any unseen", "nearer to a training image than all held-out ones", "low"),
    "likeness_to_training": ("Likeness to training", "median likeness to the nearest training image", "near"),
    "authentic_share": ("Authentic share", "farther from their nearest training image than that from its own", "high"),
    "copying_z": ("Copying, C_T", "below -3: nearer to training people than chance gives; about 0: as near", "high"),
    "nearest_share": ("Nearest is training", "of all real people; chance is the share of people in training", "low"),
    "effective_patients": ("Patients in effect", "training patients over whom the images spread", "high"),
    "member_loss_auc": ("Members by loss, AUC", "the model's loss tells training images; chance is 0.5", "low"),
    "member_loss_tpr_at_1pct": ("Members by loss, found", "training images found at 1 % false positives", "low"),
    "amplification": ("Amplification", "log odds of the label, synthetic minus training; 0 is fair", "near"),
    "amplification_autoencoder": ("Amplification, autoencoder", "the same after the autoencoder alone", "near"),
    "amplification_asked": ("Amplification, asked", "the same of what was asked for", "near"),
    "composition_ratio": ("Share over training share", "1 is fair", "near"),
    "noise_background": ("Noise, background", "standard deviation outside the head", "near"),
    "noise_tissue": ("Noise, tissue", "standard deviation within tissue, structure left out", "near"),
    "spread_tissue": ("Spread, tissue", "standard deviation of the values within tissue", "near"),
    "adherence_share": ("Shows what was asked", "share in which a classifier finds the label asked for", "high"),
    "adherence_kappa": ("Agreement with what was asked, κ", "asked against found, beyond chance", "high"),
    "adherence_r": ("Correlation with what was asked, r", "asked against measured", "high"),
    "adherence_box": ("Lesion in its box", "asked box brighter than boxes of others; chance is 0.5", "high"),
    "auc": ("AUC", "of a classifier, tested on held-out real people", "high"),
    "delta_auc": ("AUC, gain", "over real images alone", "high"),
    "brier": ("Brier score", "squared error of the probabilities; 0 is best", "low"),
    "ece": ("Calibration error", "expected; 0 is best", "low"),
    "worst_group_auc": ("AUC of the worst group", "lowest over groups of other attributes", "high"),
    "group_kid": ("KID of the group", "at equal n for all groups", "low"),
    "group_coverage": ("Coverage of the group", "at equal n for all groups", "high"),
    "worst_group_kid": ("KID of the worst group", "at equal n for all groups", "low"),
}
"""Score → its name, its meaning, and what is good: low, high, or near what real images score."""


def label_of(name: str) -> str:
    """The score's name in words."""
    return MEANINGS[name][0] if name in MEANINGS else name.replace("_", " ")


def meaning_of(name: str) -> str:
    return MEANINGS[name][1] if name in MEANINGS else ""


def made_with(score: Score) -> str:
    """The name of the features, without their hash."""
    return score.extractor.partition(" ")[0]


def named(score: Score) -> str:
    """The score's name in words, with its features where they are not handcrafted: `KID, squeezenet1_1`."""
    features = made_with(score)
    return (
        label_of(score.name)
        if features.startswith("handcrafted") or not features
        else (f"{label_of(score.name)}, {features}")
    )


def images_of(score: Score) -> str:
    """Which images a score concerns: `MR, plane = axial`."""
    return ", ".join(part for part in (score.modality or "all", score.group.replace("=", " = ", 1)) if part)


def figure(value: float | None, digits: int | None = None) -> str:
    """A number with two or three digits that count, at most four places: `0.012`, `1.65`, `153`, `−0.20`."""
    if value is None:
        return NONE
    return number(value, _digits(value) if digits is None else digits).replace("-", "−")


def _digits(*values: float) -> int:
    size = max(map(abs, values))
    return next((places for least, places in ((100, 0), (10, 1), (0.1, 2), (0.01, 3)) if size >= least), 4)


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """`0.63 (0.46 to 0.77)`, or the number alone; it breaks only before the bracket."""
    if value is None or low is None or high is None:
        return figure(value)
    digits = _digits(value, low, high)
    shown = [figure(one, digits) for one in (value, low, high)]
    return f"{shown[0]} ({shown[1]}\u00a0to\u00a0{shown[2]})"


def null_words(null: Null | None) -> str:
    """What real against real gives: `0.002 (-0.01 to 0.02)`."""
    if null is None:
        return NONE
    return figure(null.value, 2) if null.low == null.high else with_interval(null.value, null.low, null.high)


def better_of(name: str) -> Better:
    """What is good of a score: low, high, or near what real images score."""
    return MEANINGS[name][2] if name in MEANINGS else "near"
