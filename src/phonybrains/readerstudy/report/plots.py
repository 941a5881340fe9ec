"""The plots of the report: matplotlib figures without pyplot, colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ...reporting.blocks import Figure
from ...reporting.drawing import DASHES, MARKERS, WIDTH, colour_of, draw, in_percent, legend_beside, list_rows, shade
from ..findings.bias import ConfidenceBin
from ..findings.figures import Heat
from ..findings.over_time import Window
from ..findings.reads import Finding
from ..findings.roc import Curve
from ..study import CALLS

CALL_COLOURS = {"real": "#0072B2", "phony": "#D55E00", "unclear": "#999999"}  # Okabe and Ito


def plot_calls(counts: Mapping[str, Mapping[str, Mapping[str, int]]], truth: str, caption: str) -> Figure:
    """Counts of real, phony and unclear: counts[modality][reader][call], a panel for each modality."""

    highest = max(1, *(n for readers in counts.values() for calls in readers.values() for n in calls.values()))

    def paint(panels: NDArray[Any]) -> None:
        for axes, (modality, readers) in zip(panels[0], counts.items(), strict=True):
            names, width = list(readers), 0.27
            for k, (call, colour) in enumerate(CALL_COLOURS.items()):
                places, heights = np.arange(len(names)) + (k - 1) * width, [readers[name][call] for name in names]
                axes.bar_label(axes.bar(places, heights, width * 0.95, color=colour, label=call), fontsize=8, padding=1)
            crowded = len(names) * max(map(len, names)) * len(counts) > 60
            turned = {"rotation": 35, "ha": "right"} if crowded else {}
            axes.set_xticks(range(len(names)), names, **turned)
            shown = max(sum(calls.values()) for calls in readers.values())
            axes.set_title(f"{modality}, n = {shown} {truth} images")
            axes.set_ylim(0, 1.15 * highest)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0][0].set_ylabel("images")
        panels[0][-1].legend(title="called", loc="upper left", bbox_to_anchor=(1.01, 1))

    return draw(f"calls_{truth}", caption, 2.9, paint, ncols=len(counts), squeeze=False, sharey=True)


def plot_forest(
    name: str, groups: Mapping[str, Sequence[tuple[str, Finding]]], caption: str, chance: float | None
) -> Figure:
    """Shares with their intervals, one row each, a panel for each quantity; a line at chance."""
    labels = list(dict.fromkeys(label for items in groups.values() for label, _ in items))

    def paint(panels: NDArray[Any]) -> None:
        for axes, (title, items) in zip(panels[0], groups.items(), strict=True):
            for label, finding in items:
                y = labels.index(label)
                value, low, high = (100 * (v or 0) for v in (finding.value, finding.low, finding.high))
                together = label.startswith("all")
                colour = "#000000" if together else colour_of(0)
                axes.plot([low, high], [y, y], color=colour, lw=2.4 if together else 1.6, solid_capstyle="butt")
                axes.plot(value, y, "D" if together else "o", color=colour, ms=6, clip_on=False)
                text, place = f"{value:.0f} %, n={finding.n}", ("axes fraction", "data")
                axes.annotate(text, (1.01, y), xycoords=place, va="center", fontsize=8, color="#444")
            if chance is not None:
                axes.axvline(100 * chance, color="#666", lw=0.9, ls=":")
            axes.set(xlim=(0, 100), title=title)
            list_rows(axes, labels)
            axes.grid(axis="x", color="#e5e5e5", lw=0.6)
            axes.set_axisbelow(True)
            in_percent(axes.xaxis)

    return draw(name, caption, 0.95 + 0.24 * len(labels), paint, ncols=len(groups), squeeze=False, sharey=True)


def plot_roc(curves: Sequence[Curve], caption: str) -> Figure:
    """The ROC of each reader, with the area and its interval in the legend."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#999", lw=0.9, ls=":")
        for k, curve in enumerate(curves):
            area = curve.area
            interval = f"{area.value or 0:.2f} ({area.low or 0:.2f} to {area.high or 0:.2f})"
            label = f"{curve.reader}: {interval}\nn = {area.n} images"
            axes.plot(curve.false_positive, curve.true_positive, DASHES[k % 4], color=colour_of(k), lw=1.8, label=label)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="real images called phony (1 - specificity)", ylabel="phony images called phony (sensitivity)")
        legend_beside(axes, title="reader: area under the curve")

    return draw("roc", caption, 3.8, paint)


def plot_agreement(readers: Sequence[str], shares: NDArray[np.float64], caption: str) -> Figure:
    """The share of equal calls of each two readers."""

    def paint(axes: Axes) -> None:
        shade(axes, shares, [[f"{100 * share:.0f} %" for share in row] for row in shares])
        axes.set_xticks(range(len(readers)), readers, rotation=35, ha="right")
        axes.set_yticks(range(len(readers)), readers)

    side = min(5.5, 1.8 + 0.55 * len(readers))
    return draw("agreement", caption, side, paint, width=side + 0.8)


def plot_confusion(
    tables: Mapping[str, NDArray[np.int64]],
    rows: Sequence[str],
    caption: str,
    name: str = "confusion",
    axis: tuple[str, str] = ("called", "truth"),
) -> Figure:
    """Counts of calls against what was true, or said, a panel for each table, shaded by the share of the row."""

    def paint(panels: NDArray[Any]) -> None:
        flat = panels.ravel()
        for axes in flat[len(tables) :]:
            axes.set_axis_off()
        for axes, (title, table) in zip(flat, tables.items(), strict=False):
            shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
            texts = np.vectorize("{}\n{:.0f} %".format)(table, 100 * shares)
            shade(axes, shares, texts, aspect="auto")
            axes.set_xticks(range(len(CALLS)), CALLS)
            axes.set_yticks(range(len(rows)), [f"{row}\nn={n}" for row, n in zip(rows, table.sum(axis=1), strict=True)])
            axes.set(title=title, xlabel=axis[0], ylabel=axis[1])

    across = min(3, len(tables))
    down = -(-len(tables) // across)
    height, width = 0.5 + (0.75 + 0.5 * len(rows)) * down, min(WIDTH, 0.4 + 2.4 * across)
    return draw(name, caption, height, paint, width, nrows=down, ncols=across, squeeze=False)


def plot_calibration(bins: Mapping[str, Sequence[ConfidenceBin]], caption: str) -> Figure:
    """The share of right calls against the confidence they were given with."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color="#999", lw=0.9, ls=":", label="right as often as sure")
        for k, (reader, own) in enumerate(bins.items()):
            shift = 0.8 * (k - (len(bins) - 1) / 2)
            x = [one.mean_confidence + shift for one in own]
            figures = [(one.share_right.value, one.share_right.low, one.share_right.high) for one in own]
            y, low, high = 100 * np.array([[figure or 0 for figure in three] for three in figures]).T
            label = f"{reader}, n={sum(one.share_right.n for one in own)}"
            style = {"color": colour_of(k), "marker": MARKERS[k % 7], "ms": 5, "lw": 1.3, "capsize": 2, "label": label}
            axes.errorbar(x, y, [y - low, high - y], **style)
        axes.set(xlim=(-3, 103), ylim=(-3, 103), xlabel="confidence given", ylabel="calls that were right")
        in_percent(axes.yaxis)
        legend_beside(axes)

    return draw("confidence", caption, 3.4, paint)


def plot_course(windows: Mapping[str, Sequence[Window]], caption: str, right: str = "right") -> Figure:
    """Share of right answers and seconds per case over the reading, a line for each reader."""
    panels = [
        ("right", f"{right} answers", lambda one: 100 * one.right),
        ("seconds", "seconds per case (median)", lambda one: one.seconds),
    ]
    timed = any(one.seconds is not None for own in windows.values() for one in own)
    panels = panels if timed else panels[:1]

    def paint(axes_row: NDArray[Any]) -> None:
        for axes, (key, label, value) in zip(axes_row[0], panels, strict=True):
            for k, (reader, own) in enumerate(windows.items()):
                points = [(one.middle, value(one)) for one in own if value(one) is not None]
                if points:
                    whose = f"{reader}, n={sum(one.n for one in own)}"
                    style = {"color": colour_of(k), "marker": MARKERS[k % 7], "ms": 4, "ls": DASHES[k % 4], "lw": 1.5}
                    axes.plot(*zip(*points, strict=True), label=whose, **style)
            axes.set(xlabel="position in the reading", ylabel=label)
            if key == "right":
                axes.set_ylim(-3, 103)
                in_percent(axes.yaxis)
                axes.axhline(50, color="#999", lw=0.9, ls=":")
            else:
                axes.set_ylim(0)
        legend_beside(axes_row[0][-1])

    return draw("course", caption, 2.9, paint, ncols=len(panels), squeeze=False)


def plot_marks(maps: Sequence[Heat], caption: str) -> Figure:
    """Where readers pointed, over the mean of the phony images of each modality."""

    def paint(panels: NDArray[Any]) -> None:
        colours = ScalarMappable(Normalize(0, 1), "inferno")
        for axes, heat in zip(panels[0], maps, strict=True):
            axes.imshow(heat.mean, cmap="gray", vmin=0, vmax=1)
            axes.imshow(colours.to_rgba(heat.density, alpha=np.clip(heat.density * 1.4, 0, 0.75)))
            title = f"{heat.modality}: {heat.marks} marks,\n{heat.images} images, {heat.readers} readers"
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
        panels[0][-1].figure.colorbar(colours, ax=list(panels[0]), shrink=0.8, label="marks per area, most = 1")

    return draw("marks", caption, 3.2, paint, width=min(WIDTH, 0.8 + 3.0 * len(maps)), ncols=len(maps), squeeze=False)


def plot_machine(
    features: Mapping[str, Sequence[float]], readers: Sequence[tuple[str, Finding]], caption: str
) -> Figure:
    """The area under the curve of single image statistics (value, low, high) beside the readers'."""
    own = {f"reader {name}": (f.value or 0.0, f.low or 0.0, f.high or 0.0) for name, f in readers}
    rows = [*features.items(), *own.items()]

    def paint(axes: Axes) -> None:
        for y, (_, (value, low, high)) in enumerate(rows):
            colour, marker = (CALL_COLOURS["unclear"], "s") if y < len(features) else (colour_of(0), "o")
            axes.plot([low, high], [y, y], color=colour, lw=2, solid_capstyle="butt")
            axes.plot(value, y, marker, color=colour, ms=6)
        axes.axvline(0.5, color="#666", lw=0.9, ls=":")
        axes.set(xlim=(0, 1), xlabel="area under the ROC curve")
        list_rows(axes, [label for label, _ in rows])

    return draw("machine", caption, 0.8 + 0.26 * len(rows), paint)
