"""The options of every command that works, a pipe that breaks, and completion in a real shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclopts import CycloptsError

from phonybrains.cli import parser
from phonybrains.cli.commands import COMMANDS
from phonybrains.cli.pairs import pairs
from phonybrains.model.workers import DEVICE, chosen_device, this_device
from phonybrains.wording import count_of
from tests.support.in_turn import called
from tests.support.places import ROOT
from tests.test_documentation import commands

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}
OVERWRITE = "import phantom train finetune generate join edit augment score evaluate predict export audit show"
DEVICES = ["train", "finetune", "generate", "edit", "augment", "score", "serve", "demo"]


def options(*names: str) -> set[str]:
    """The options of a command."""
    app = parser.app
    for name in names:
        app = app[name]
    return {name for argument in app.assemble_argument_collection() for name in argument.names}


def test_each_command_has_the_options_that_it_can_keep() -> None:
    """--overwrite where an output can be made again, --device where a model runs: never an option without effect."""
    for path in commands(parser.app):
        if len(path) < 3 and path[0] not in ("study", "model"):
            found = options(*path)
            assert ("--overwrite" in found) == (path[0] in OVERWRITE.split()), path
            device = (path[0] in DEVICES and path != ("edit", "noise")) or path == ("audit", "cascade")
            assert ("--device" in found) == device, path
        elif path[0] == "study":
            assert "--overwrite" not in options(*path)


def test_quiet_prints_the_result_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors are still told, with the same exit code."""
    words = ("phantom", "-n", 1, "--size", 32, "--out", tmp_path / "set", "--quiet")
    assert called(*words) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'set'}: 1 phantom\n", "")
    assert called(*words[:-4], 32, "-n", 2, "--out", tmp_path / "set", "--quiet") in (1, 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("phonybrains: ")


def test_the_home_folder_is_meant_where_the_shell_leaves_its_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--out=~/set, as bash passes it on, is no folder called ~; a ~ within a word is one of its letters."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for out, at in (("--out=~/set", "home/set"), ("--out=a~/~", "a~/~")):
        assert called("phantom", "-n", 1, "--size", 32, out, "--quiet") == 0
        assert (tmp_path / at / "metadata.csv").is_file()
    assert called("show", "~/set", "--out", "~/sheet.png") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"home", "a~"}
    capsys.readouterr()


def test_the_command_that_is_said_to_come_next_can_be_pasted(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with a blank and an apostrophe in its name is one word of it."""
    monkeypatch.setattr("phonybrains.training.stage.train", lambda *_, **__: None)
    out = tmp_path / "Ann's heads"
    assert called("train", tmp_path, "--out", out) == 0
    _, _, following = capsys.readouterr().out.partition("Next: ")
    assert shlex.split(following)[:3] == ["phonybrains", "generate", str(out)]


def test_overwrite_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set gives way to one of other settings, and is refused as its own input."""
    words = ("phantom", "--size", 32, "--out", tmp_path / "set", "-n")
    assert called(*words, 1) == 0
    assert called(*words, 2) == 1
    assert "--overwrite has it replaced" in capsys.readouterr().err
    assert called(*words, 2, "--overwrite") == 0
    assert called("import", tmp_path / "set", "--out", tmp_path / "set", "--overwrite") == 1
    assert "which is read, lies there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "it is cpu, cuda"),
        ("cuda:x", "it is cpu"),
        ("cuda:", "it is cpu"),
        ("cuda:99", "finds"),
        ("mps", "finds"),
    ],
)
def test_a_device_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    """One line at once, before the model is looked for; afterwards the environment is as it was."""
    assert called("generate", "none", "-n", 1, "--out", tmp_path / "out", "--device", name) == 1
    assert f"device {name}: " in (err := capsys.readouterr().err)
    assert said in err
    assert DEVICE not in os.environ


def test_a_device_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for wins over what there is; one with a number is not for the processes of torchrun."""
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert this_device() == "cuda:0"
    for name, device in (("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")):
        monkeypatch.setenv(DEVICE, name)
        assert this_device() == device
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Exception, match="torchrun gives each"):
        chosen_device()


@pytest.mark.parametrize("words", ["--help", "model info heads", "generate --help"])
def test_a_pipe_that_nobody_reads_is_silent(words: str) -> None:
    """As `head` ends before all is printed: no word of it, and the code of a program that dies of it."""
    late = f"import time, runpy, sys; time.sleep(.3); sys.argv = ['p', *'{words}'.split()]; "
    late += "runpy.run_module('phonybrains', run_name='__main__')"
    line = f'"$PYTHON" -c "{late}" | true; echo ${{PIPESTATUS[0]}}'
    environment = ENVIRONMENT | {"PYTHON": sys.executable}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("141\n", "")


COMPLETE = """
source {script}
complete -p phonybrains >/dev/null || exit 3
COMP_WORDS=({words}) COMP_CWORD={last} COMP_LINE="{line}" COMP_POINT={point}
"$(complete -p phonybrains | sed 's/.*-F \\([^ ]*\\).*/\\1/')" phonybrains "{current}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def complete(script: Path, line: str) -> list[str]:
    """What bash offers at the end of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    text = COMPLETE.format(
        script=script, words=quoted, last=len(words) - 1, line=line, point=len(line), current=words[-1]
    )
    done = subprocess.run(["bash", "--norc", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """The installed script, in bash itself: it starts no Python, and torch is not imported to make it."""
    home = ENVIRONMENT | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    program = "import sys; from phonybrains.cli import app\ntry: app.main()\nfinally: assert 'torch' not in sys.modules"
    words = ("--install-completion", "--shell", "bash", "--output", str(tmp_path / "script"))
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, env=home)
    assert done.returncode == 0, done.stderr
    offered = complete(tmp_path / "script", "phonybrains ")
    assert {command.name for command in COMMANDS} <= set(offered)
    assert complete(tmp_path / "script", "phonybrains gen") == ["generate"]
    assert {"--quiet", "--overwrite", "--device"} <= set(complete(tmp_path / "script", "phonybrains generate --"))
    assert "compiled" in complete(tmp_path / "script", "phonybrains generate heads --engine ")
    for shell in ("zsh", "fish"):
        assert "generate" in parser.app.generate_completion(prog_name="phonybrains", shell=shell)


@pytest.mark.parametrize("word", ["mr", "MRI", "Mr"])
def test_a_modality_in_any_letters(word: str) -> None:
    """As an option and in --where; another word is refused with what there is."""
    _, bound, _ = parser.app.parse_args(["import", "a", "--out", "b", "--modality", word], exit_on_error=False)
    assert bound.arguments["modality"] == "MR"
    assert pairs([f"Modality={word}", "plane=MRI"], "--where") == {"Modality": "MR", "plane": "MRI"}
    words = ["import", "a", "--out", "b", "--modality", f"{word}x"]
    with pytest.raises(CycloptsError, match='Choose from: "MR", "CT"'):
        parser.app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(("n", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_is_no_plural(n: int, words: str) -> None:
    """The one function for numbers of things."""
    assert count_of(n, "image") == words
    assert count_of(n, "series", "series").endswith("series")


def test_models_are_listed(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the package, those below a folder, also a damaged one; another folder is one line."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.json").write_text("{")
    (tmp_path / "tiny").symlink_to(tiny_model)
    assert called("model", "list", tiny_model.parent) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "kind", "pixels", "size", "hash", "conditions"]
    found: dict[str, Any] = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert found["heads"][:2] == ["flow", "256×256"]
    assert found[str(tiny_model)][1] == "64×64"
    assert called("model", "list", tmp_path / "broken") == 0
    assert "damaged" in capsys.readouterr().out
    assert called("model", "list", tmp_path / "none") == 1
