"""Bias and confidence: how much readers lean towards saying phony, and whether they are right where they are sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...statistics.proportions import wilson
from ...statistics.roc import d_prime
from .performance import as_finding
from .reads import ALL, Finding, Read, Treatment, modalities_of, readers_of, select

CONFIDENCE_BINS = ((0, 20), (21, 40), (41, 60), (61, 80), (81, 100))
METHOD = "log-linear correction (Hautus 1995), variance of Gourevitch and Galanter 1967"


def measure_bias(reads: Sequence[Read], unclear: Treatment, level: float) -> list[Finding]:
    """d' and criterion c of each reader; c below 0 is a leaning towards phony. Needs real and phony images."""
    found = []
    modalities = modalities_of(reads)
    for reader in readers_of(reads):
        for modality in [ALL, *(modalities if len(modalities) > 1 else [])]:
            part = select(reads, reader=reader, modality=modality)
            phony = [said for read in part if read.phony and (said := read.said_phony(unclear)) is not None]
            real = [said for read in part if not read.phony and (said := read.said_phony(unclear)) is not None]
            if phony and real:
                found += [finding.where(reader=reader, modality=modality, unclear=unclear)
                          for finding in detection(sum(phony), len(phony), sum(real), len(real), level)]  # fmt: skip
    return found


def detection(hits: int, phony: int, false_alarms: int, real: int, level: float) -> tuple[Finding, Finding]:
    """d' and c, where c below 0 is a leaning towards phony."""
    found = d_prime(hits, phony, false_alarms, real, level)
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
    given = [(read.answer.confidence, read.call == read.case.truth) for read in select(reads, reader=reader)
             if read.answer.confidence is not None and read.call != "unclear"]  # fmt: skip
    bins = []
    for low, high in CONFIDENCE_BINS:
        inside = [(confidence, right) for confidence, right in given if low <= confidence <= high]
        if inside:
            estimate = wilson(sum(right for _, right in inside), len(inside), level)
            share = as_finding(
                "right by confidence", estimate, "Wilson", reader=reader, note=f"confidence {low}-{high}"
            )
            bins.append(ConfidenceBin(low, high, sum(c for c, _ in inside) / len(inside), share))
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
            found.append(Finding("overconfidence", confidence / 100 - right, n, "mean confidence less share right",
                                 reader=reader))  # fmt: skip
    return found
