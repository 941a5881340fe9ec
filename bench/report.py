"""Figures as tables and pictures, to look at."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from phonybrains.reporting.sheets import contact_sheet

if TYPE_CHECKING:
    from .study import Study

DISTANCES = ("KID", "/floor", "/blur", "FD", "/floor", "/blur")
COLUMNS = (
    *DISTANCES,
    "told\napart",
    "AUC",
    "modal-\nity",
    "plane",
    "copies",
    "worst\ndB",
    "ruler\nAUC",
    "s per\nimage",
)
console = Console(width=None if sys.stdout.isatty() else 137)


def say(text: str) -> None:
    """Tell what is being done."""
    console.print(f"[dim]{text}[/dim]", highlight=False)


def print_report(result: Mapping[str, Any]) -> None:
    """One table for each modality: what real images score, then a row for each number of steps."""
    for modality, reference in result["reference"].items():
        of_model, rows = result["of_model"][modality], result["rows"]
        table = Table(title=f"{modality}: {reference['n']} real images", box=box.SIMPLE, title_justify="left")
        for name in ("", *COLUMNS):
            table.add_column(name, justify="right" if name else "left", no_wrap=True)
        real = reference["floor"] | {"kid_error": reference["floor"]["kid_deviation"]}
        real |= {name: reference[name] for name in ("two_sample", "attributes") if name in reference}
        table.add_row("training", *_cells(real, reference))
        table.add_row("1-pixel blur", *_cells(reference["blur"], reference))
        table.add_row("autoencoder", *_cells(of_model, reference), end_section=True)
        for row in rows:
            table.add_row(_name(row), *_cells(row[modality] | {"seconds": row["seconds"]}, reference))
        console.print(table)
        loss = f", loss {of_model['loss']:.4f}" if "loss" in of_model else ""
        print(f"autoencoder: {of_model['psnr_db']:.2f} dB, SSIM {of_model['ssim']:.4f}{loss}")
        for name, figures in [("real", reference), *((_name(row), row[modality]) for row in rows)]:
            print(
                f"grey, {name}: mean {{mean:.1f}} ± {{deviation_of_means:.1f}}, deviation {{deviation:.1f}}, tissue "
                "{above:.3f}".format(**figures["level"])
            )
        for name, one in [
            ("training", real),
            ("autoencoder", of_model),
            *((_name(row), row[modality]) for row in rows),
        ]:
            print(
                f"ruler, {name}: {{worst_feature}}, AUC {{worst_auc:.3f}}; flat blocks {{flat_blocks:.3f}}, real "
                "{flat_blocks_real:.3f}".format(**one["texture"])
            )
        for row in rows:
            if indices := row[modality].get("nearest", {}).get("indices"):
                print(f"closer to training than 99 % of real images, {_name(row)}: {', '.join(map(str, indices))}")


def _name(row: Mapping[str, Any]) -> str:
    return "samples" if row["steps"] is None else f"{row['steps']} step{'s' * (row['steps'] > 1)}"


def _cells(figures: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    test, read = figures.get("two_sample", {}), figures.get("attributes", {})
    kid, fd = (
        [f"{figures[name]:.3g}", *(f"{figures[name] / reference[real][name]:.3g}" for real in ("floor", "blur"))]
        for name in ("kid", "fd_handcrafted")
    )
    kid[0] += f" ± {figures['kid_error']:.2g}"
    return [
        *kid,
        *fd,
        _number(test.get("accuracy")),
        _number(test.get("auc")),
        *(_number(read[name]["accuracy"] if name in read else None) for name in ("modality", "plane")),
        str(figures["nearest"]["above"]) if "nearest" in figures else "",
        f"{figures['texture']['worst_db']:.1f}" if "texture" in figures else "",
        _number(figures.get("texture", {}).get("worst_auc")),
        _number(figures.get("seconds")),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def draw_pairs(
    studies: Sequence[Study], made: Mapping[str, NDArray[Any]], figures: Mapping[str, Any], path: Path, count: int = 12
) -> Path:
    """Draw the generated images closest to a training image, as real ones go, each beside that one."""
    pairs = []
    for study in studies:
        name, found = study.modality, figures[study.modality]["nearest"]
        for i, (r, k) in enumerate(zip(found["score"], found["training_index"], strict=True)):
            labels = f"{name} {i} r {r:.3f}", f"train {study.train.rows[k].file_name[-10:-4]}"
            pairs.append((r - found["threshold"], (made[name][i], study.train.images[k]), labels))
    closest = sorted(pairs, key=lambda pair: -pair[0])[:count]
    pictures = [picture for _, both, _ in closest for picture in both]
    return contact_sheet(pictures, path, columns=6, side=160, labels=[text for *_, both in closest for text in both])
