"""The entry: runs one command, and says in one line what went wrong with it."""

from __future__ import annotations

import os
import select
import signal
import sys
import warnings
from typing import NoReturn

from ..errors import PhonyBrainsError
from ..files import at_home
from .commands import overview

GOES_ON = {"audit cascade", "augment", "demo", "edit", "evaluate", "export", "fetch", "finetune"}
GOES_ON |= {"generate", "imagine", "join", "predict", "score", "train"}
"""Commands that, stopped and given again, go on; the others start over."""


def main() -> NoReturn:
    """Run the command line: 0 done, 1 an error that a person can act on, 2 wrong usage, 130 stopped, 141 not read."""
    warnings.simplefilter("ignore")
    # On busy cores, threads that spin while they wait make everything three times slower.
    settings = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "DIFFUSERS_VERBOSITY": "error",
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    os.environ.update(settings | os.environ)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _end_unread()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError) and not end.__suppress_context__:  # so does rich end
            _end_unread()
        raise
    except KeyboardInterrupt:  # at any moment: while it imports, and while it tells of an error
        _fail(f"stopped. {_what_again_does(sys.argv[1:])}", 130)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run() -> NoReturn:
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(overview())
        sys.exit(0)
    from cyclopts import CycloptsError

    from .parser import app

    try:
        code = app([_at_home(word) for word in sys.argv[1:]], print_error=False, exit_on_error=False)
    except CycloptsError as error:
        _fail(f"{error}\nphonybrains --help lists the commands and their options.", 2)
    except PhonyBrainsError as error:
        _fail(str(error), 1)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _is_unread():
            raise
        _fail(f"{error.filename}: {error.strerror}." if error.filename else str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        _fail("the memory of this machine is not enough. A smaller batch size needs less.", 1)
    sys.exit(code)


def _at_home(word: str) -> str:
    """A word of the command line with the home folder in place of ~: the shell leaves it in `--out=~/samples`."""
    option, equals, path = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + at_home(path)


def _what_again_does(words: list[str]) -> str:
    from_pacs = words[:1] == ["import"] and any("://" in word for word in words)
    if from_pacs or " ".join(words[:2] if words[:1] == ["audit"] else words[:1]) in GOES_ON:
        return "Give the same command again to go on."
    return "Given again, the same command starts over."


def _is_unread() -> bool:
    """Whether nobody reads the standard output any more."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _end_unread() -> NoReturn:
    """Who read the output has gone, as `head` does: silence, and the code of a program that dies of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(128 + signal.SIGPIPE)


def _fail(text: str, code: int) -> NoReturn:
    print(f"phonybrains: {text}", file=sys.stderr)
    raise SystemExit(code) from None
