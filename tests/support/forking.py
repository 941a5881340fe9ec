"""A `phonybrains` for scripts of many commands: all but servers are forked from a process that has imported everything.

with forking(folder) as environment: …     a folder for the program, which comes first on the PATH of `environment`
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.places import ROOT

CLIENT = """#!{python} -ISs
import json, os, socket, sys
if sys.argv[1] == "serve":  # has to hear the signals that are sent to it
    os.execv(sys.executable, [sys.executable, "-m", "phonybrains", *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [json.dumps([os.getcwd(), *sys.argv[1:]]).encode()], [0, 1, 2])
sys.exit(int(server.recv(16) or 1))
"""


@contextmanager
def forking(folder: Path) -> Iterator[dict[str, str]]:
    """An environment in which `phonybrains` is that program."""
    folder.mkdir()
    address, client = folder / "socket", folder / "phonybrains"
    client.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
    client.chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        words = [sys.executable, "-m", "tests.support.forking", str(listener.fileno())]
        server = subprocess.Popen(words, cwd=ROOT, env=environment, pass_fds=[listener.fileno()])
    try:
        yield environment
    finally:
        server.kill()
        server.wait()


def serve(listener: socket.socket) -> None:
    """Run each command that comes in a process of its own, with the files and the current folder of who asks."""
    from bench.disturbed import COMMANDS, warm_up

    warm_up(COMMANDS)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            answer(client)
        client.close()


def answer(client: socket.socket) -> None:
    """Run one command, and tell its exit code."""
    from phonybrains.cli.app import main

    words, files, *_ = socket.recv_fds(client, 65536, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
    folder, *rest = json.loads(words)
    os.chdir(folder)
    sys.argv = ["phonybrains", *rest]
    code: object = 70
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        client.send(str(int(code or 0)).encode())
        os._exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
