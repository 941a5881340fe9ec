"""A PostgreSQL server for tests, on a free port, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import postgresql_programs
from tests.support.study_server import free_port


def unprivileged_user() -> str | None:
    """Who runs the server: PostgreSQL refuses root. None: the user who runs the tests."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a server; yields the beginning of its URLs, to which the name of a database is added."""
    found, user, port = postgresql_programs(), unprivileged_user(), free_port()
    assert found
    folder.mkdir()
    if user is not None:
        shutil.chown(folder, user)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}

    def run(*command: str | Path) -> None:
        subprocess.run(
            list(map(str, command)), check=True, user=user, cwd=folder, env=environment, stdout=subprocess.DEVNULL
        )

    run(found / "initdb", "-D", folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    run(found / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-w", "-o", options, "start")
    try:
        yield f"postgresql://tester@127.0.0.1:{port}"
    finally:
        run(found / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")
