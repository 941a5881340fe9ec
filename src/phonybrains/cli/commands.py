"""What commands there are, and where: a list that costs nothing to load, and is what `phonybrains --help` prints."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import dataclass

HELP = "Synthetic brain MRI and CT with latent diffusion models. For research and teaching, not for diagnosis."


@dataclass(frozen=True)
class Command:
    """A command or a group of them: its name, its function (module:name, below this package), and what it does."""

    name: str
    home: str
    summary: str


COMMANDS = (
    Command(
        "import",
        "data:import_",
        "Turn scans (DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, …; also in archives) into an image set.",
    ),
    Command("fetch", "data:fetch", "Download a public data set from its publisher, for import."),
    Command(
        "phantom",
        "data:phantom",
        "Draw head phantoms, MR and CT, as an image set with known ventricles, brain, age and lesions.",
    ),
    Command("train", "train:train", "Train a latent diffusion model on an image set."),
    Command("finetune", "train:finetune", "Fine-tune a Stable Diffusion checkpoint on an image set, as a LoRA."),
    Command("generate", "generate:generate", "Generate synthetic images as an image set."),
    Command("join", "generate:join", "Join the shards of a run of generate into one image set."),
    Command("edit", "edit:edit_app", "Edit images by what a model knows of heads: one prior, many uses."),
    Command(
        "augment", "augment:augment", "Add synthetic training images of what is rare in an image set, drawn by a model."
    ),
    Command("score", "score:score", "Say how unusual images are to a model: the exact density of their latents."),
    Command("imagine", "imagine:imagine", "Ask a text-to-image service for images, as an image set."),
    Command(
        "evaluate",
        "evaluate:evaluate",
        "Measure synthetic images against the corpus their model learnt from: good, new, fair, useful?",
    ),
    Command("predict", "predict:predict_app", "Predict an attribute of images, and how sure each answer is (CARD)."),
    Command(
        "export", "export:export", "Write an image set as DICOM, NIfTI, PNG, BIDS or Croissant, marked as what it is."
    ),
    Command("serve", "serve:serve", "Serve a model: OpenAI's protocol for images, and a page to play with it."),
    Command("mcp", "agents:mcp", "Offer import, generate, evaluate and verify to agents, over MCP, within one folder."),
    Command("study", "study:study_app", "Let specialists tell real images from phony ones, blinded."),
    Command(
        "audit",
        "evaluate:audit_app",
        "Search generated images for repeated training images and patients: the part memorisation of evaluate alone.",
    ),
    Command(
        "verify",
        "verify:verify",
        "Say where a picture, an image set or a model comes from, each link intact, changed or unknown.",
    ),
    Command("show", "show:show", "Look at an image set, or at one image and its record: in the terminal or a browser."),
    Command("model", "model:model_app", "Look at a trained model, or pass it on."),
    Command(
        "demo",
        "generate:demo",
        "Generate 95 images with the model that comes with the package, and draw sheets of them.",
    ),
)
FLAGS = {
    "--help (-h)": "Display this message and exit.",
    "--install-completion": "Have the shell (bash, zsh or fish) complete commands and options.",
    "--version": "Display application version.",
}


def overview(columns: int | None = None) -> str:
    """The help that lists the commands, as the parser would print it: loading the parser takes longer than that."""
    width = columns or shutil.get_terminal_size((80, 24)).columns
    rows = {command.name: command.summary for command in COMMANDS} | FLAGS
    first = max(map(len, rows))
    lines = []
    for name, summary in rows.items():
        for line in textwrap.wrap(summary, width - first - 6, break_on_hyphens=False):
            lines.append(f"│ {name:{first}}  {line:{width - first - 6}} │")
            name = ""
    head = "─ Commands "
    usage = ["Usage: phonybrains COMMAND", "", *textwrap.wrap(HELP, width, break_on_hyphens=False), ""]
    return "\n".join([*usage, f"╭{head:─<{width - 2}}╮", *lines, f"╰{'─' * (width - 2)}╯"])
