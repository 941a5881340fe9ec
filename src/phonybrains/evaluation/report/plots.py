"""The report's figures: plain numbers in, figure blocks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ...reporting.blocks import Figure
from ...reporting.drawing import COLOURS, WIDTH, draw, in_percent, list_rows
from ..findings import Confusion
from ..outcomes import distance, outcome_of
from ..score import Score
from .names import figure, images_of, named

REAL, SYNTHETIC, BAND = COLOURS[0], COLOURS[1], "#e3e8ef"
SETTINGS = {"real": (REAL, "o"), "synthetic": (SYNTHETIC, "D")}
FARTHEST = 1000.0


def plot_beside_null(modality: str, scores: Sequence[Score], caption: str) -> Figure:
    """How far each score lies from what real images score, in half-widths of that range, which is the band."""
    rows = [(score, distance(score)) for score in scores]
    rows = [(score, float(np.clip(apart, -FARTHEST, FARTHEST))) for score, apart in rows if apart is not None]
    left, right = -min([apart for _, apart in rows] + [-2.0]), max([apart for _, apart in rows] + [2.0])

    def paint(axes: Axes) -> None:
        axes.axvspan(-1, 1, color=BAND, lw=0, zorder=0)
        axes.axvline(0, color="#8894a5", lw=0.9, zorder=1)
        for y, (score, apart) in enumerate(rows):
            colour = SYNTHETIC if outcome_of(score) == "apart" else REAL
            axes.plot([0, apart], [y, y], color=colour, lw=1.4, zorder=2)
            axes.plot(apart, y, "o" if colour == REAL else "D", color=colour, ms=5.5, zorder=3)
            offset, side = (7, "left") if apart >= 0 else (-7, "right")
            style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "ha": side, "fontsize": 8}
            axes.annotate(figure(score.value), (apart, y), (offset, 0), **style)
        axes.set_xscale("symlog", linthresh=2, linscale=1)
        axes.set(xlim=(-2.5 * left, 2.5 * right))
        axes.set(xlabel="distance from real against real (1 = the edge of its 95 % range)", title=modality)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        list_rows(axes, [named(score) for score, _ in rows])

    return draw(f"beside_null_{modality.lower()}", caption, 1.0 + 0.18 * len(rows), paint)


def plot_map(maps: Mapping[str, Mapping[str, NDArray[Any]]], method: str, caption: str) -> Figure:
    """Two dimensions of the features of each modality, (n, 2) for each side: likeness as nearness."""

    def paint(panels: NDArray[Any]) -> None:
        for axes, (modality, sides) in zip(panels[0], maps.items(), strict=True):
            for kind, points in sides.items():
                colour, marker = SETTINGS[kind]
                style: dict[str, Any] = {"s": 13, "color": colour, "marker": marker, "alpha": 0.65, "lw": 0}
                axes.scatter(points[:, 0], points[:, 1], label=f"{kind}, n={len(points)}", **style)
            axes.set(xticks=[], yticks=[], title=modality, xlabel=f"{method} 1", ylabel=f"{method} 2")
            axes.set_aspect("equal", adjustable="datalim")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)

    return draw("map", caption, 3.9, paint, width=_wide(len(maps)), ncols=len(maps), squeeze=False)


def plot_spectra(spectra: Mapping[str, Mapping[str, NDArray[Any]]], caption: str) -> Figure:
    """Power at each spatial frequency in dB; below it, how far the synthetic images' lies from the real ones'."""

    def paint(panels: NDArray[Any]) -> None:
        for column, (modality, one) in enumerate(spectra.items()):
            above, below = panels[:, column]
            frequency, real = one["frequency"], one["real"]
            above.plot(frequency, real, color=REAL, lw=1.5)
            above.plot(frequency, one["synthetic"], color=SYNTHETIC, lw=1.5, ls="--")
            above.set(title=modality, ylabel="power, dB")
            if "low" in one:
                band: dict[str, Any] = {"color": BAND, "lw": 0, "label": "real against real, 95 %"}
                below.fill_between(frequency, one["low"], one["high"], **band)
            below.axhline(0, color=REAL, lw=1, label="real")
            below.plot(frequency, one["synthetic"] - real, color=SYNTHETIC, lw=1.5, ls="--", label="synthetic")
            below.set(xlabel="spatial frequency, cycles per pixel", ylabel="minus real, dB")
            below.legend(loc="upper center", bbox_to_anchor=(0.45, -0.25), ncols=2)

    return draw("spectra", caption, 4.6, paint, width=_wide(len(spectra)), nrows=2, ncols=len(spectra), squeeze=False)


def plot_prevalence(name: str, scores: Sequence[Score], beside: str, caption: str) -> Figure:
    """Shares of images by attribute, synthetic beside real (`beside`: which), with intervals."""
    labels = [images_of(score) for score in scores]

    def paint(axes: Axes) -> None:
        for y, score in enumerate(scores):
            sides = {"real": score.null, "synthetic": score}
            for shift, (kind, one) in zip((-0.19, 0.19), sides.items(), strict=True):
                if one is not None and one.value is not None:
                    label = (beside if kind == "real" else kind) if y == 0 else None
                    axes.barh(y + shift, 100 * one.value, 0.36, color=SETTINGS[kind][0], alpha=0.85, label=label)
                    if one.low is not None and one.high is not None and one.high > one.low:
                        axes.plot([100 * one.low, 100 * one.high], [y + shift] * 2, color="#222", lw=1)
        axes.set(xlim=(0, 103), ylim=(len(scores) - 0.5, -0.6), xlabel="share of images")
        in_percent(axes.xaxis)
        axes.set_yticks(range(len(scores)), labels)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))

    return draw(name, caption, 0.9 + 0.31 * len(scores), paint)


def plot_similarity(
    found: Mapping[str, Mapping[str, NDArray[Any]]], thresholds: Mapping[str, float], caption: str
) -> Figure:
    """How near each image comes to its nearest training image: synthetic ones, and real ones never trained on."""

    def paint(panels: NDArray[Any]) -> None:
        for axes, (modality, sides) in zip(panels[0], found.items(), strict=True):
            values = np.concatenate(list(sides.values()))
            bins = list(np.linspace(values.min(), max(values.max(), values.min() + 1e-3), 31))
            for kind, own in sides.items():
                colour, name = (REAL, "held-out real") if kind == "held_out" else (SYNTHETIC, "synthetic")
                bars: dict[str, Any] = {"weights": np.full(len(own), 100 / max(len(own), 1)), "color": colour}
                axes.hist(own, bins, histtype="stepfilled", alpha=0.3, **bars)
                axes.hist(own, bins, histtype="step", lw=1.4, label=f"{name}, n={len(own)}", **bars)
            if modality in thresholds:
                axes.axvline(thresholds[modality], color="#222", lw=1, ls=":", label="threshold")
            axes.set(title=modality, xlabel="likeness to the nearest training image", ylabel="share of images")
            in_percent(axes.yaxis)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)

    return draw("similarity", caption, 3.2, paint, width=_wide(len(found)), ncols=len(found), squeeze=False)


def plot_intervals(
    name: str, scores: Sequence[Score], labels: Sequence[str], zero: float, axis: str, caption: str
) -> Figure:
    """A row for each score: the value with its interval; `zero` is where nothing differs."""

    def paint(axes: Axes) -> None:
        axes.axvline(zero, color="#8894a5", lw=0.9, ls=":")
        for y, score in enumerate(scores):
            if score.value is None:
                continue
            if score.low is not None and score.high is not None:
                axes.plot([score.low, score.high], [y, y], color=REAL, lw=1.8, solid_capstyle="butt")
            axes.plot(score.value, y, "o", color=REAL, ms=5.5)
        axes.set(xlabel=axis)
        list_rows(axes, labels)

    return draw(name, caption, 0.9 + 0.26 * len(scores), paint)


def plot_confusion(tables: Mapping[str, Confusion], caption: str) -> Figure:
    """What was asked (rows) and found (columns): synthetic images left, real ones right."""

    def paint(panels: NDArray[Any]) -> None:
        for row, (title, table) in zip(panels, tables.items(), strict=True):
            for axes, kind, side in zip(row, ("synthetic", "real"), (table.made, table.real), strict=True):
                counts = np.asarray(side, dtype=float)
                shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
                axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
                for (y, x), count in np.ndenumerate(counts):
                    ink = "white" if shares[y, x] > 0.6 else "#222"
                    axes.text(x, y, f"{count:.0f}", ha="center", va="center", fontsize=8, color=ink)
                ticks = range(len(table.labels))
                axes.set(xlabel="found", ylabel="asked" if kind == "synthetic" else "true", title=f"{title}, {kind}")
                axes.set_xticks(ticks, table.labels, rotation=30, ha="right", fontsize=8)
                axes.set_yticks(ticks, table.labels, fontsize=8)

    return draw("confusion", caption, 2.9 * len(tables), paint, nrows=len(tables), ncols=2, squeeze=False)


def _wide(panels: int) -> float:
    return min(WIDTH, 0.4 + 3.3 * panels)
