"""How many scans the preset laptop needs: the shipped model learns on parts of a corpus, drawn by patient.

    python -m bench laptop corpus/ --out laptop/ --features squeezenet.safetensors --sizes 200 720 2877

Each part has the corpus's validation and test people and some of its training people. What `heads` has become by it
generates as many images of each modality as are asked for, and is judged against the test people, as is `heads` as it
comes. The same command goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.stage import evaluate
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet, Row, write_metadata
from phonybrains.reporting.sheets import contact_sheet

from .options import measurement
from .timing import PHONYBRAINS, figure, run, table, use_threads

KNOWN = ("plane", "diagnosis", "hemorrhage")
"""What heads has learnt and a corpus may tell."""
SHOWN = {"quality": ("kid", "recall", "precision", "c2st_auc"), "memorisation": ("copies_flagged", "nearest_share")}


def some_people(rows: list[Row], n: int, seed: int) -> list[Row]:
    """Rows of whole patients in random order until there are n; of the last as many as are wanted, in their order."""
    people = sorted({row.patient_id for row in rows})
    order = {patient: i for i, patient in enumerate(np.random.default_rng(seed).permutation(people))}
    return sorted(rows, key=lambda row: order[row.patient_id])[:n]


def part(corpus: ImageSet, n: int, seed: int, out: Path) -> ImageSet:
    """The corpus with n of its training images, of each modality its share."""
    if not out.is_dir():
        taught = [row for row in corpus.rows if row.split == "train"]
        kept = [row for row in corpus.rows if row.split in ("validation", "test")]
        for modality in sorted({row.modality for row in taught}):
            mine = [row for row in taught if row.modality == modality]
            kept += some_people(mine, round(n * len(mine) / len(taught)), seed)
        (draft := out.with_name(f".{out.name}")).mkdir(parents=True, exist_ok=True)
        for row in kept:
            (draft / row.file_name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(corpus.folder / row.file_name, draft / row.file_name)
        shutil.copyfile(corpus.folder / "record.json", draft / "record.json")
        write_metadata(draft, [replace(row, mask_file_name="", mask_sha256="") for row in kept])
        draft.rename(out)
    return ImageSet.open(out)


def judged(model: str | Path, corpus: ImageSet, n: int, steps: int | None, features: Path, out: Path) -> dict[str, Any]:
    """The figures of n images of each modality against the test people of the corpus."""
    found: dict[str, Any] = {}
    for modality in sorted({row.modality for row in corpus.rows}):
        made = generate(model, out / f"{modality}-images", n, where={"modality": modality}, seed=1, steps=steps)
        images = ImageSet.open(made)
        sheet = out / f"{modality}.png"
        contact_sheet([images.pixels(i) for i in range(min(32, n))], sheet, columns=8, side=128)
        config = EvaluateConfig(features=str(features), attributes=())
        told = evaluate(made, corpus.folder, out / f"{modality}-evaluation", config, only=tuple(SHOWN))
        for score in json.loads((told / "scores.json").read_bytes())["scores"]:
            if score["group"] or score["value"] is None or score["extractor"].startswith("hand"):
                continue
            if score["name"] in SHOWN.get(score["part"], ()):
                found |= {f"{modality} {score['name']}": score}
    return found


def shown(score: dict[str, Any]) -> str:
    """A score and what real people have."""
    null = (score["null"] or {}).get("value")
    return figure(score["value"]) + (f" ({figure(null)})" if null is not None else "")


def draw_curve(found: dict[int, dict[str, Any]], path: Path) -> None:
    """KID and recall by the number of training images, heads as it comes at 0; what real people have as lines."""
    import matplotlib.pyplot as plt

    names = {"kid": "KID × 10³, lower is better", "recall": "recall"}
    figure, axes = plt.subplots(1, len(names), figsize=(9, 3.2), layout="constrained")
    sizes = list(found)
    for axis, (name, title) in zip(axes, names.items(), strict=True):
        for colour, modality, side in (("C0", "MR", -0.04), ("C1", "CT", 0.04)):
            scores = [score for size in sizes if (score := found[size].get(f"{modality} {name}"))]
            if len(scores) < len(sizes):
                continue
            value = np.array([score["value"] for score in scores])
            ends = [[score[end] for score in scores] for end in ("low", "high")]
            limits = None if None in ends[0] else np.abs(np.array(ends) - value)
            axis.errorbar(
                np.arange(len(sizes)) + side, value, limits, color=colour, marker="o", capsize=3, label=modality
            )
            axis.axhline(scores[0]["null"]["value"], color=colour, linestyle=":", linewidth=1)
        axis.set(title=title, xlabel="training images", ylim=(0, None))
        axis.set_xticks(range(len(sizes)), [str(size) if size else "heads" for size in sizes])
    axes[-1].legend(title="dotted: real people", loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


app = measurement(__name__, __doc__)


@app.default
def main(
    corpus: Path,
    *,
    out: Path,
    features: Path,
    sizes: tuple[int, ...] = (200, 720, 2877),
    n: int = 200,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 2,
) -> None:
    """Train, generate and judge; what is there already is not made again.

    Args:
        corpus: An image set with train, validation and test people.
        out: Folder for everything.
        features: SqueezeNet weights (safetensors, torchvision's names).
        sizes: Training images.
        n: Images generated of each modality.
        steps: Of sampling; the model's own.
        seed: Of who is drawn.
        threads: Of PyTorch.
    """
    use_threads(threads)
    whole, largest = ImageSet.open(corpus), max(sizes)
    rows: dict[int, dict[str, str]] = {}
    found: dict[int, dict[str, Any]] = {}
    for size in (0, *sizes):
        images = part(whole, size or largest, seed, out / f"corpus-{size or largest}")
        model: str | Path = "heads"
        rows[size] = {"learnt from": f"{size} images" if size else "heads as it comes"}
        if size:
            model = out / f"model-{size}"
            told = [word for name in KNOWN if any(row[name] for row in images.rows) for word in ("--conditions", name)]
            used = run([*PHONYBRAINS, "train", images.folder, "--out", model, "--preset", "laptop", *told])
            rows[size]["people"] = str(len({row.patient_id for row in images.rows if row.split == "train"}))
            rows[size] |= {"minutes": f"{used.wall_s / 60:.1f}", "of CPU": f"{used.cpu_s / 60:.1f}"}
            rows[size] |= {"GiB": f"{used.peak_mib / 1024:.2f}"}
        found[size] = judged(model, images, n, steps, features, out / f"judged-{size}")
        rows[size] |= {key: shown(score) for key, score in found[size].items()}
        print(rows[size], flush=True)
    draw_curve(found, out / "curve.png")
    heads = list(dict.fromkeys(key for row in rows.values() for key in row))
    print(table(heads, [[row.get(key, "") for key in heads] for row in rows.values()]))
