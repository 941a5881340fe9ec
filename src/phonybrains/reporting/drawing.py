"""Plots as blocks of a report: matplotlib without pyplot, colours that colour-blind readers tell apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from .blocks import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS, DASHES = "osD^vPX", ("-", "--", "-.", ":")
STYLE = {
    "svg.hashsalt": "phonybrains",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "axes.titlelocation": "left",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
WIDTH = 6.9


def draw(name: str, caption: str, height: float, paint: Any, width: float = WIDTH, **grid: Any) -> Figure:
    """A figure block: `paint(axes)` draws on one axes, or on an array of them where `grid` says how many."""
    with rc_context(STYLE):  # pyright: ignore[reportArgumentType]
        drawing = Drawing(figsize=(width, height), layout="constrained")
        paint(drawing.subplots(**grid))
        svg, png = io.BytesIO(), io.BytesIO()
        FigureCanvasSVG(drawing).print_svg(svg, metadata={"Date": None, "Creator": None})
        FigureCanvasAgg(drawing).print_figure(png, dpi=200, format="png", metadata={"Software": None})
    return Figure(name, svg.getvalue().decode(), png.getvalue(), width, height, caption)


def colour_of(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def shade(axes: Any, shares: NDArray[Any], texts: Sequence[Sequence[str]], size: float = 8, **image: Any) -> None:
    """A table of shares 0 to 1, NaN where there is none, as squares of blue with their texts."""
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", **image)
    for i, j in np.ndindex(*shares.shape):
        if np.isfinite(shares[i, j]):
            ink = "white" if shares[i, j] > 0.6 else "black"
            axes.text(j, i, texts[i][j], ha="center", va="center", color=ink, fontsize=size)
    axes.spines[:].set_visible(False)


def list_rows(axes: Any, labels: Sequence[str]) -> None:
    """Labels on the left, one a row, from the top down."""
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), labels)


def in_percent(axis: Any) -> None:
    """Write the numbers of an axis as whole per cent."""
    axis.set_major_formatter(PercentFormatter(decimals=0))


def legend_beside(axes: Any, **legend: Any) -> None:
    """The legend to the right of the plot."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), **legend)
