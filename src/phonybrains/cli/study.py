"""The commands of a reader study: `phonybrains study design`, `power`, `serve`, `analyse` and their kin."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from cyclopts import App

from ..errors import ConfigError
from .options import Amount, Finite, Flag, Folders, Port, Seed, Share, Whole, Words
from .working import working

study_app = App(name="study", help="Let specialists tell real images from phony ones, blinded.", sort_key=7)


def _database(given: str | None) -> str | None:
    """The database of the command line, else of the environment. Raises ConfigError for a password in the former."""
    from ..readerstudy.store.database import password_in

    if given and password_in(given):
        raise ConfigError(
            "--database: a password on the command line can be read by everyone on this machine. Leave it out and set "
            "PGPASSWORD or use ~/.pgpass, or give the whole URL in the environment variable PHONYBRAINS_DATABASE."
        )
    return given or os.environ.get("PHONYBRAINS_DATABASE") or None


@study_app.command(sort_key=1)
@working("quiet")
def design(
    *,
    synthetic: Folders,
    real: Path | None = None,
    out: Path,
    preset: str = "controlled",
    config: Path | None = None,
    readers: Words = None,
    same_history: Words = None,
    seed: Seed | None = None,
    evaluation: Folders | None = None,
    accept_unaudited: Flag = False,
) -> None:
    """Choose the cases, look for what gives the truth away, and freeze the protocol.

    Args:
        synthetic: Image sets of synthetic images; each is an arm of its own.
        real: An image set to take real controls from, its test split unless the configuration says otherwise.
        out: Folder of the study.
        preset: controlled (real controls, repeats, training cases, checks) or paper (all synthetic, two readers).
        config: TOML file with any of the settings of docs/reader-study.md, laid over the preset; the options here win.
        readers: Names of the readers.
        same_history: Last steps for both arms, e.g. floor:8, or none; the weakest that close a trace if not given.
        seed: Secret start of the random choices; drawn if not given.
        evaluation: Evaluations of the synthetic sets, which hold their audits for copies of training images.
        accept_unaudited: Show sets that passed no such audit; the protocol says so.
    """
    from ..readerstudy.config import load_study_config

    settings = load_study_config(
        preset,
        config,
        readers=readers and tuple(readers),
        seed=seed,
        same_history=same_history and tuple(same_history),
        accept_unaudited=accept_unaudited or None,
    )
    from ..readerstudy.design.stage import design_study

    design_study(synthetic, real, out, settings, evaluations=evaluation or ())
    print(f"Next: phonybrains study serve {quote(str(out))}")


@study_app.command(sort_key=2)
def power(
    *,
    preset: str = "controlled",
    config: Path | None = None,
    readers: Whole | None = None,
    phony: Whole | None = None,
    real: Whole | None = None,
    arms: Whole = 1,
    question: Literal["difference", "equivalence"] | None = None,
    power: Share = 0.8,
    effect: Share = 0.1,
    correlation: Finite = 0.4,
    reader_sd: Amount = 0.05,
) -> None:
    """Print what a plan can find, and how many readers and cases a question needs.

    Args:
        preset: controlled or paper, as for design.
        config: TOML file laid over the preset, as for design.
        readers: How many readers, instead of the plan's.
        phony: How many phony test cases from each synthetic set, instead of the plan's.
        real: How many real controls, instead of the plan's.
        arms: How many synthetic sets.
        question: What is to be shown: that readers do better than chance, or that they do not, within plan.margin.
        power: How often it is to be shown, where it is so.
        effect: How far from chance the primary figure is thought to lie.
        correlation: Of two readers' results over the same cases.
        reader_sd: Standard deviation of the readers' true results.
    """
    from ..readerstudy.config import load_study_config

    given: dict[str, Any] = {"readers": readers and tuple(f"reader {i}" for i in range(1, readers + 1))}
    settings = load_study_config(preset, config, **given)
    from ..readerstudy.design.power import Assumed, print_power, study_power

    numbers = {"synthetic": phony and {"any": phony}, "real": real and {"any": real}}
    settings = settings.model_copy(update={name: number for name, number in numbers.items() if number})
    assumed = Assumed(effect, correlation, reader_sd)
    print_power(study_power(settings, arms=arms, question=question, power=power, assumed=assumed))


@study_app.command(sort_key=3)
def serve(
    study: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: Port = 8000,
    database: str | None = None,
    new_links: Flag = False,
    https: Flag = False,
    public_url: str | None = None,
    proxy: str | None = None,
) -> None:
    """Show the cases to readers in their browsers, until you stop it; answers are kept from one start to the next.

    Args:
        study: The folder of a study.
        host: Address to listen on; 0.0.0.0 for all of this machine's.
        port: Port to listen on; 0 for any that is free.
        database: Where answers are kept: postgresql://USER@HOST/NAME or sqlite:///FILE, if not in the folder. Also as
            PHONYBRAINS_DATABASE in the environment. A password comes from PGPASSWORD or ~/.pgpass.
        new_links: Print new invitations for readers who have not finished; their old ones end.
        https: The server stands behind a proxy that speaks HTTPS.
        public_url: Where browsers find the study, e.g. https://study.example.org/reading, if a proxy stands in front.
        proxy: Address the proxy comes from, if not this machine: what it says of its clients' addresses is believed.
    """
    from ..readerstudy.web.serve import serve_study

    serve_study(
        study,
        host=host,
        port=port,
        database=_database(database),
        new_links=new_links,
        https=https,
        public_url=public_url,
        proxy=proxy,
    )


@study_app.command(sort_key=4)
@working("quiet")
def analyse(study: Path, /, *, out: Path, database: str | None = None, interim: Flag = False) -> None:
    """Work out what the answers are worth, and write the report.

    Args:
        study: The folder of a study.
        out: Folder for report.html, report.pdf, the tables and the figures.
        database: Where the answers are, if not in the study's folder.
        interim: Look while readers are in the middle; the log and the report tell of it.
    """
    from ..readerstudy.analyse import analyse_study

    analyse_study(study, out, database=_database(database), interim=interim)


@study_app.command(name="import-answers", sort_key=5)
def import_answers(
    study: Path | None = None, /, *, table: Path | None = None, counts: Path | None = None, database: str | None = None
) -> int:
    """Take in answers from paper forms or another tool, or check published counts.

    Args:
        study: The folder of a study.
        table: CSV with the columns reader, case, call and, if known, confidence and description.
        counts: CSV of counts to check against one another; exits with 1 if they cannot be true together.
        database: Where answers are kept, if not in the study's folder.
    """
    from ..readerstudy.import_answers import check_counts, import_answers

    if counts is None and (study is None or table is None):
        raise ConfigError("give a study and --table with its answers, or --counts, or all of them.")
    contradictions = check_counts(counts) if counts else []
    for sentence in contradictions:
        print(sentence)
    if study is not None and table is not None:
        import_answers(study, table, database=_database(database))
    return int(bool(contradictions))


@study_app.command(sort_key=6)
@working("quiet")
def simulate(
    study: Path,
    /,
    *,
    readers: Whole = 5,
    d_prime: Finite = 1.0,
    criterion: Finite = 0.0,
    unclear: float = 0.05,
    fatigue: Finite = 0.0,
    seed: Seed = 0,
    database: str | None = None,
) -> None:
    """Let simulated readers read a study that nobody else reads, for a rehearsal; it is marked so for good.

    Args:
        study: The folder of a study.
        readers: How many.
        d_prime: How far apart phony and real look to them, in standard deviations; 0 is guessing.
        criterion: Their leaning: above 0 they are slow to say phony.
        unclear: Share of answers that are unclear.
        fatigue: Loss of d' from the first image to the last.
        seed: Start of the random numbers.
        database: Where answers are kept, if not in the study's folder, e.g. sqlite:///rehearsal.db.
    """
    from ..readerstudy.simulate import Skill, simulate_study

    skill = Skill(d_prime=d_prime, criterion=criterion, unclear=unclear, fatigue=fatigue)
    simulate_study(study, readers=readers, skill=skill, seed=seed, database=_database(database))


@study_app.command(sort_key=7)
def verify(study: Path, /, *, head: str | None = None, database: str | None = None) -> int:
    """Check that the log of a study is whole, and its database what the log tells; exits with 1 if not.

    Args:
        study: The folder of a study.
        head: N:HMAC as it stands on a reader's last page or on the investigator's: the log must have been there.
        database: Where the answers are, if not in the study's folder.
    """
    from ..readerstudy.check import verify_study

    return verify_study(study, head=head, database=_database(database))
