"""The command line: parsing, exit codes and what it says."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from PIL import Image

import phonybrains as pb
from phonybrains.cli import app as entry
from phonybrains.importing import ImportConfig
from phonybrains.record import read_record
from phonybrains.training.config import load_train_config
from tests.support.in_turn import called
from tests.support.tiny_training import LEARNT, ON, quick_settings

Run = Callable[..., tuple[int, str, str]]
HEAVY = {"torch", "diffusers", "accelerate", "pydicom", "nibabel", "highdicom", "numpy", "PIL", "pydantic", "requests"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a command line; returns the exit code, and what went to the standard output and error."""
    return lambda *words: (called(*words), *capsys.readouterr())


# --- Quick to start --------------------------------------------------------------------------------------------------


QUESTIONS = f"""
import sys
import phonybrains
from phonybrains.cli.app import main

for words in ((), ("--help",), ("generate", "--help"), ("--version",)):
    sys.argv = ["phonybrains", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    assert not {HEAVY} & {{*sys.modules}}, words
"""


def test_nothing_heavy_is_loaded_to_answer_a_question():
    """The package, the command line, its help and its version do without torch, numpy and the readers of files."""
    done = subprocess.run([sys.executable, "-c", QUESTIONS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    """Each name of `__all__` can be had, and `dir` lists it; another is an AttributeError."""
    for name in pb.__all__:
        assert getattr(pb, name).__name__ == name
    assert set(pb.__all__) <= set(dir(pb))
    with pytest.raises(AttributeError, match="has no attribute 'brains'"):
        _ = pb.brains  # type: ignore[attr-defined]


def test_version(run: Run):
    """`--version` prints the package's."""
    assert run("--version") == (0, f"phonybrains {pb.__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands_in_the_order_of_the_work(run: Run, words: tuple[str, ...]):
    """Without a command the answer is the help."""
    code, out, _ = run(*words)
    commands = [line.split()[1] for line in out.splitlines() if line.startswith("│") and line[2] not in " -"]
    first = "import fetch phantom train finetune generate join edit augment score imagine evaluate"
    assert (code, commands) == (0, f"{first} predict export serve mcp study audit verify show model demo".split())


# --- The whole path --------------------------------------------------------------------------------------------------


def test_the_whole_path_on_the_command_line(run: Run, tmp_path: Path):
    """Phantoms, import, train, model info, generate: each command takes what the one before it made."""
    phantoms, corpus, model, samples = (tmp_path / name for name in ("phantoms", "corpus", "model", "samples"))
    assert run("phantom", "--n", 80, "--size", 64, "--out", phantoms)[0] == 0
    assert run("import", phantoms, "--size", 64, "--out", corpus)[0] == 0
    words = ("train", corpus, "--preset", "tiny", "--config", quick_settings(tmp_path), "--min-patients", 0)
    assert run(*words, "--conditions", "plane", "sex", "--out", model)[0] == 0

    code, out, _ = run("model", "info", model)
    assert code == 0
    for said in ("model: 64×64 images", "modality: CT, MR", "plane: axial, coronal, sagittal", "sex: F, M", "phantom"):
        assert said in out

    words = ("generate", model, "-n", 6, "--where", "modality=MR", "plane=coronal", "--steps", 5, "--guidance", 2)
    code, out, err = run(*words, "--seed", 7, "--batch-size", 4, "--grid", tmp_path / "grid.png", "--out", samples)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{samples}: 6 synthetic images; contact sheet: {tmp_path / 'grid.png'}"
    rows = pb.ImageSet.open(samples).rows
    assert {(row.modality, row["plane"], row["sex"] in ("F", "M"), row["guidance"]) for row in rows} == {
        ("MR", "coronal", True, 2.0)
    }
    assert read_record(samples)["seed"] == 7
    assert run(*words, "--seed", 7, "--grid", tmp_path / "grid.png", "--out", samples)[0] == 0


def test_the_same_path_in_python(phantom_corpus: Path, tmp_path: Path):
    """Each command is a function of the package."""
    quick = dict.fromkeys(LEARNT, ON)
    out = pb.train(phantom_corpus, tmp_path / "model", preset="tiny", conditions=("plane",), show=False, **quick)
    model = pb.LatentDiffusion.load(out)
    made = model.generate(n=3, where={"modality": "CT"}, seed=7, steps=2)
    assert made.images.shape == (3, 64, 64)
    assert [row["modality"] for row in made.conditions] == ["CT"] * 3
    samples = pb.generate(out, tmp_path / "samples", 3, where={"modality": "CT"}, seed=7, steps=2, show=False)
    images = pb.ImageSet.open(samples)
    assert all((images.pixels(i) == made.images[i]).all() for i in range(3))


def test_the_module_runs_like_the_command():
    """`python -m phonybrains`, which torchrun needs, is the same program."""
    done = subprocess.run(
        [sys.executable, "-m", "phonybrains", "fetch", "x", "--out", "x"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "phonybrains: there is no public data set 'x'. Known: cheng2017, ct-ich.\n"


# --- Options reach their stage ---------------------------------------------------------------------------------------


def test_import_options_win_over_the_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is not given stays as in the TOML file, or as the default."""
    seen: dict[str, Any] = {}

    def stand_in(sources: list[str], out: Path, config: ImportConfig, *, strict: bool) -> Any:
        seen.update(sources=sources, out=out, config=config, strict=strict)
        return type("Report", (), {"failed": False})

    monkeypatch.setattr("phonybrains.importing.stage.import_images", stand_in)
    (tmp_path / "import.toml").write_text("size = 128\nbits = 16\n")
    words = ("a", "b", "--out", "c", "--config", tmp_path / "import.toml", "--size", 64, "--window", 50, 100)
    assert run("import", *words, "--plane", "axial", "--seed", 3, "--modality", "CT", "--strict")[0] == 0
    assert seen == {
        "sources": ["a", "b"],
        "out": Path("c"),
        "strict": True,
        "config": ImportConfig(size=64, bits=16, window=(50, 100), plane="axial", seed=3, modality="CT"),
    }


def test_train_options_win_over_the_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is not given stays as in the TOML file, or as in the preset."""
    seen: list[Any] = []
    monkeypatch.setattr("phonybrains.training.stage.train", lambda *given: seen.extend(given))
    (tmp_path / "train.toml").write_text('seed = 5\nsteps = 9\nstart = "other"\ndiffusion = "ddpm"\n')
    words = ("a", "--out", "b", "--preset", "tiny", "--config", tmp_path / "train.toml", "--start", "heads")
    assert run("train", *words, "--seed", 3, "--conditions", "plane", "sex", "--features", "f")[0] == 0
    given = {"seed": 3, "start": "heads", "conditions": ("plane", "sex"), "features": Path("f")}
    assert seen == [Path("a"), Path("b"), load_train_config("tiny", steps=9, diffusion="ddpm", **given)]


def test_strict_turns_a_skipped_file_into_exit_code_1(run: Run, tmp_path: Path):
    """Without --strict the good rest is imported and the exit code is 0; with it, imported too, but 1."""
    source = tmp_path / "scans"
    source.mkdir()
    Image.effect_noise((64, 64), 50).save(source / "good_ct.png")
    (source / "empty.png").write_bytes(b"")
    words = ("import", source, "--modality", "CT", "--size", 64)
    assert run(*words, "--out", tmp_path / "lenient")[0] == 0
    assert run(*words, "--strict", "--out", tmp_path / "strict")[0] == 1
    assert len(pb.ImageSet.open(tmp_path / "strict")) == 1


# --- Errors are for the person ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generat",), 'Unknown command "generat". Did you mean "generate"?'),
        (("generate", "m", "--out", "x"), "-n"),
        (("generate", "m", "-n", "many", "--out", "x"), "many"),
        (("generate", "m", "-n", "0", "--out", "x"), "Must be >= 1"),
        (("generate", "m", "-n", "1", "--seed", "-1", "--out", "x"), "Must be >= 0"),
        (("generate", "m", "-n", "1", "--stepz", "4", "--out", "x"), "--stepz"),
        (("phantom", "--n", "4"), "--out"),
        (("import", "a", "--out", "x", "--bits", "12"), "12"),
        (("train", "a", "b", "--out", "x"), "b"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, words: tuple[str, ...], message: str):
    """A line that says what is wrong and one that says where the help is; nothing on the standard output."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith("phonybrains: ")
    assert message in first
    assert "--help" in second


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generate", "{tmp}/none", "-n", "1", "--out", "{tmp}/x"), "none is not a model folder"),
        (("generate", "{model}", "-n", "1", "--where", "sex=F", "--out", "{tmp}/x"), "no attribute 'sex'. Known: mod"),
        (("generate", "{model}", "-n", "1", "--where", "CT", "--out", "{tmp}/x"), "--where takes name=value"),
        (("generate", "{model}", "-n", "1", "--grid", "{tmp}/g.txt", "--out", "{tmp}/x"), "contact sheet is a picture"),
        (("train", "{tmp}", "--out", "{tmp}/x"), "is not an image set"),
        (("show", "{tmp}/none"), "none is not there. Check the path."),
        (("predict", "apply", "{corpus}", "--model", "{model}", "--out", "{tmp}/x"), "it has no predictor.json. Make"),
        (("train", "{corpus}", "--preset", "huge", "--out", "{tmp}/x"), "'huge' is not known. Known: cpu, ddpm, gan"),
        (("train", "{corpus}", "--start", "{tmp}/none", "--out", "{tmp}/x"), "none is not a model folder"),
        (("train", "{corpus}", "--preset", "tiny", "--start", "heads", "--out", "{tmp}/x"), "networks of other shapes"),
        (("generate", "{model}", "-n", "1", "--steps", "2", "--guidance", "2", "--out", "{tmp}/x"), "theirs built in"),
        (("train", "{corpus}", "--config", "{tmp}/no.toml", "--out", "{tmp}/x"), "no.toml: cannot be read"),
        (("import", "{tmp}/none", "--out", "{tmp}/x"), "none"),
        (("import", "{tmp}", "--size", "3", "--out", "{tmp}/../x"), "size: Input should be greater"),
        (("fetch", "chang", "--out", "{tmp}/x"), "no public data set 'chang'"),
        (("model", "info", "{corpus}"), "is not a model folder"),
    ],
)
def test_a_foreseeable_error_is_one_line_and_exits_with_1(
    run: Run, tmp_path: Path, tiny_model: Path, phantom_corpus: Path, words: tuple[str, ...], message: str
):
    """No traceback; nothing is written."""
    places = {"tmp": tmp_path, "model": tiny_model, "corpus": phantom_corpus}
    code, out, err = run(*(word.format(**places) for word in words))
    assert (code, out.strip()) == (1, "")
    assert err.startswith("phonybrains: ")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied."),
        (OSError("odd"), "odd"),
        (MemoryError(), "the memory of this machine is not enough. A smaller batch size needs less."),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "the memory of this machine is not enough."),
    ],
)
def test_an_error_of_the_machine_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str
):
    """What the disk or the memory refuses is no fault of the program."""
    monkeypatch.setattr("phonybrains.phantom.corpus.make_phantoms", stop_with(error))
    code, out, err = run("phantom", "--n", 1, "--out", "x")
    assert (code, out) == (1, "")
    assert err.startswith(f"phonybrains: {message}")


@pytest.mark.parametrize(
    ("stage", "words", "again"),
    [
        ("phantom.corpus.make_phantoms", ("phantom", "-n", 1), "Given again, the same command starts over."),
        ("importing.stage.import_images", ("import", "in"), "Given again, the same command starts over."),
        ("importing.fetch.fetch", ("fetch", "ct-ich"), "Give the same command again to go on."),
    ],
)
def test_ctrl_c_exits_with_130(
    run: Run, monkeypatch: pytest.MonkeyPatch, stage: str, words: tuple[object, ...], again: str
):
    """One line says whether the same command goes on or starts over, as each stage does."""
    monkeypatch.setattr(f"phonybrains.{stage}", stop_with(KeyboardInterrupt()))
    assert run(*words, "--out", "x") == (130, "", f"phonybrains: stopped. {again}\n")


def test_stopped_before_it_has_begun(run: Run, monkeypatch: pytest.MonkeyPatch):
    """While the program is still being read in, and while it tells of an error, a stop is one line and 130 as well."""
    monkeypatch.setattr("phonybrains.cli.app.overview", stop_with(KeyboardInterrupt()))
    assert run("--help")[::2] == (130, "phonybrains: stopped. Given again, the same command starts over.\n")
    monkeypatch.setattr("phonybrains.cli.app._fail", once(KeyboardInterrupt(), entry._fail))
    assert run("train")[0] == 130


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    """What nobody foresaw is not dressed up as the user's error."""
    monkeypatch.setattr("phonybrains.phantom.corpus.make_phantoms", stop_with(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        called("phantom", "--n", 1, "--out", "x")


def once(error: BaseException, then: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
    """A function that raises at its first call, and is another from then on."""
    first = iter([True])

    def called(*given: object) -> NoReturn:
        if next(first, False):
            raise error
        then(*given)

    return called


def stop_with(error: BaseException) -> Callable[..., None]:
    def stop(*_: object, **__: object) -> None:
        raise error

    return stop
