"""The commands of a reader study: `phonybrains study design`, `power`, `serve`, `analyse` and their kin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from .errors import ConfigError

study_app = App(name="study", help="Let specialists tell real images from phony ones, blinded.", sort_key=7)

Folders = Annotated[list[Path], Parameter(consume_multiple=True, negative="")]
Flag = Annotated[bool, Parameter(negative="")]
Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]
Whole = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Share = Annotated[float, Parameter(validator=validators.Number(gt=0, lt=1))]


@study_app.command(sort_key=1)
def design(
    *,
    synthetic: Folders,
    real: Path | None = None,
    out: Path,
    preset: str = "controlled",
    config: Path | None = None,
    readers: Words = None,
    same_history: Words = None,
    seed: int | None = None,
) -> None:
    """Choose the cases, look for what gives the truth away, and freeze the protocol.

    Args:
        synthetic: Image sets of synthetic images; each is an arm of its own.
        real: An image set to take real controls from, its test split unless the configuration says otherwise.
        out: Folder of the study.
        preset: controlled (real controls, repeats, training cases, checks) or paper (all synthetic, two readers).
        config: TOML file with any of the settings of docs/reader-study.md, laid over the preset; the options here win.
        readers: Names of the readers.
        same_history: Last steps for both arms, e.g. jpeg:75.
        seed: Secret start of the random choices; drawn if not given.
    """
    from .readerstudy.config import load_study_config
    from .readerstudy.design import design_study

    settings = load_study_config(preset, config, readers=readers and tuple(readers), seed=seed,
                                 same_history=same_history and tuple(same_history))  # fmt: skip
    design_study(synthetic, real, out, settings)
    print(f"Next: phonybrains study serve {out}")


@study_app.command(sort_key=3)
def serve(
    study: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: Whole = 8000,
    database: str | None = None,
    new_links: Flag = False,
    https: Flag = False,
) -> None:
    """Show the cases to readers in their browsers, until you stop it; answers are kept from one start to the next.

    Args:
        study: The folder of a study.
        host: Address to listen on; 0.0.0.0 for all of this machine's.
        port: Port to listen on.
        database: Where answers are kept: postgresql://USER:PASSWORD@HOST/NAME, or a SQLite file in the study's folder.
        new_links: Print new invitations for readers who have not finished; their old ones end.
        https: The server stands behind a proxy that speaks HTTPS.
    """
    from .readerstudy.serve import serve_study

    serve_study(study, host=host, port=port, database=database, new_links=new_links, https=https)


@study_app.command(sort_key=4)
def analyse(study: Path, /, *, out: Path, database: str | None = None) -> None:
    """Work out what the answers are worth, and write the report.

    Args:
        study: The folder of a study.
        out: Folder for report.html, report.pdf, the tables and the figures.
        database: Where the answers are, if not in the study's folder.
    """
    from .readerstudy.analyse import analyse_study

    analyse_study(study, out, database=database)


@study_app.command(name="import-answers", sort_key=5)
def import_answers(
    study: Path | None = None,
    /,
    *,
    table: Path | None = None,
    counts: Path | None = None,
    database: str | None = None,
) -> int:
    """Take in answers from paper forms or another tool, or check published counts.

    Args:
        study: The folder of a study.
        table: CSV with the columns reader, case, call and, if known, confidence and description.
        counts: CSV of counts to check against one another; exits with 1 if they cannot be true together.
        database: Where answers are kept, if not in the study's folder.
    """
    from .readerstudy.import_answers import check_counts, import_answers

    if counts is None and (study is None or table is None):
        raise ConfigError("give a study and --table with its answers, or --counts, or all of them.")
    contradictions = check_counts(counts) if counts else []
    for sentence in contradictions:
        print(sentence)
    if study is not None and table is not None:
        import_answers(study, table, database=database)
    return int(bool(contradictions))
