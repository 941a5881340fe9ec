"""Bias and confidence: how much readers lean towards saying phony, and whether they are right where they are sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...statistics.roc import d_prime
from .performance import by_patient, share
from .reads import Finding, Read, Treatment, all_and_each, as_finding, modalities_of, readers_of, select
from .shares import independent_reads

CONFIDENCE_BINS = ((0, 20), (21, 40), (41, 60), (61, 80), (81, 100))
METHOD = "log-linear correction (Hautus 1995), variance of Gourevitch and Galanter 1967"


def measure_bias(reads: Sequence[Read], unclear: Treatment, level: float) -> list[Finding]:
    """d' and criterion c of each reader; c below 0 is a leaning towards phony. Needs real and phony images."""
    found = []
    for reader in readers_of(reads):
        for modality in all_and_each(modalities_of(reads)):
            part = select(reads, reader=reader, modality=modality)
            phony = by_patient(part, lambda read: read.said_phony(unclear) if read.phony else None)
            real = by_patient(part, lambda read: None if read.phony else read.said_phony(unclear))
            if phony and real:
                both = detection(list(phony.values()), list(real.values()), level)
                found += [finding.where(reader=reader, modality=modality, unclear=unclear) for finding in both]
    return found


def detection(phony: list[list[bool]], real: list[list[bool]], level: float) -> tuple[Finding, Finding]:
    """d' and c, where c below 0 is a leaning towards phony, from the answers to each patient's images: phony said."""
    (hits, phony_n), (false_alarms, real_n) = ((sum(map(sum, kind)), sum(map(len, kind))) for kind in (phony, real))
    shared = any(len(images) > 1 for images in (*phony, *real))
    effective = (independent_reads(phony, level), independent_reads(real, level)) if shared else None
    found = d_prime(hits, phony_n, false_alarms, real_n, level, effective)
    return as_finding("d'", found.d_prime, METHOD), as_finding("criterion c", found.criterion, METHOD)


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """How often calls of real or phony with this confidence were right."""

    low: int
    high: int
    mean_confidence: float
    share_right: Finding


def calibrate(reads: Sequence[Read], reader: str, level: float) -> list[ConfidenceBin]:
    """The calls of one reader by confidence, where it was given; `unclear` makes no claim and is left out."""
    given = [read for read in select(reads, reader=reader) if read.call != "unclear"]
    bins = []
    for low, high in CONFIDENCE_BINS:
        inside = [
            (read, sure) for read in given if (sure := read.answer.confidence) is not None and low <= sure <= high
        ]
        own = [read for read, _ in inside]
        right = share("right by confidence", own, lambda read: read.call == read.case.truth, level, each=True)
        if right is not None:
            right = right.where(reader=reader, note=f"confidence {low}-{high}")
            bins.append(ConfidenceBin(low, high, sum(sure for _, sure in inside) / len(inside), right))
    return bins


def measure_confidence(reads: Sequence[Read], level: float) -> list[Finding]:
    """Share of right calls in each range of confidence, and the mean confidence less the share right."""
    found = []
    for reader in readers_of(reads):
        bins = calibrate(reads, reader, level)
        found += [one.share_right for one in bins]
        n = sum(one.share_right.n for one in bins)
        if n:
            confidence = sum(one.mean_confidence * one.share_right.n for one in bins) / n
            right = sum((one.share_right.value or 0) * one.share_right.n for one in bins) / n
            method = "mean confidence less share right"
            found.append(Finding("overconfidence", confidence / 100 - right, n, method, reader=reader))
    return found
