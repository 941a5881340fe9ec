"""The commands on models: `phonybrains model list`, `info`, `card`, `push` and `pull`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from cyclopts import App

from ..startup import lean_diffusers
from .options import Flag
from .working import working

model_app = App(name="model", help="Look at a trained model, or pass it on.", sort_key=9)


@model_app.command(sort_key=1)
def info(model: str, /) -> None:
    """Print what a model can be asked for, its figures and its licences.

    Args:
        model: A model folder, or the name of a model that comes with the package.
    """
    from ..model.summary import summary

    print(summary(model))


@model_app.command(name="list", sort_key=0)
def list_(folder: Path | None = None, /) -> None:
    """List the models that come with the package, and those below a folder.

    Args:
        folder: Where else to look, in this folder and those in it.
    """
    from ..model.listing import models_in_words

    print(models_in_words(folder))


@model_app.command(sort_key=2)
def card(model: str, /, *, evaluation: Path | None = None) -> None:
    """Print a model's card, its README.md.

    Args:
        model: A model folder, or the name of a model that comes with the package.
        evaluation: Evaluation of images of this model, whose four lines and audit are first written into the card.
    """
    from ..model.finding import model_card

    if evaluation is not None:
        from ..workflows.card import evaluated_card

        evaluated_card(model, evaluation)
    print(model_card(model), end="")


@model_app.command(sort_key=5)
@working("quiet")
def compile(model: str, /) -> None:
    """Compile a model for this machine, once: it then makes images about twice as fast, and starts without torch.

    Args:
        model: A model folder, or the name of a model that comes with the package.
    """
    from ..model.compiling import compile_model

    seconds = compile_model(model)["seconds"]
    print(
        f"{model} is compiled. An image of 2 steps takes one core {seconds['compiled']:.2f} s, by torch "
        f"{seconds['torch']:.2f} s. generate takes the faster by itself; --engine names one."
    )


@model_app.command(sort_key=3)
@working("quiet")
def push(model: str, repo: str, /, *, private: Flag = False, revision: str | None = None) -> None:
    """Copy a model, checked, to the Hugging Face Hub or into a folder, without the log of its training.

    Args:
        model: A model folder, of train or of finetune, or the name of a model that comes with the package.
        repo: USER/NAME on the Hub, made if there is none; or a folder, as ./FOLDER or file:///FOLDER.
        private: Make a repository that others do not see.
        revision: Branch of the repository (main).
    """
    from ..model.finding import find_model

    find_model(model)
    with lean_diffusers():
        from ..model.share import push_model

    print(f"{push_model(model, repo, private=private, revision=revision)} holds the model.")


@model_app.command(sort_key=4)
@working("quiet")
def pull(repo: str, /, *, out: Path, revision: str | None = None) -> None:
    """Fetch a model that was pushed, and check it.

    Args:
        repo: USER/NAME on the Hugging Face Hub; or a folder, as ./FOLDER or file:///FOLDER.
        out: Folder of the model.
        revision: Branch, tag or commit of the repository (main).
    """
    with lean_diffusers():
        from ..model.share import pull_model

    pull_model(repo, out, revision=revision)
    print(f"{out} is complete. Next: phonybrains generate {quote(str(out))} -n 95 --out samples/")
