"""What the investigator sees and takes home. Before the study is closed none of it leads to the truth."""

from __future__ import annotations

import io
import json
from dataclasses import astuple
from typing import Any

from sqlalchemy import Connection, select

from ...reporting.tables import write_rows
from ..answers import write_answer_rows
from ..store import audit, readers
from ..store import tables as t
from ..store.replay import final_answers
from ..study import Study

WITHHELD = "withheld until the study is closed"


def overview(connection: Connection) -> dict[str, Any]:
    """How the study stands, for its page."""
    study = connection.execute(select(t.study.c.paused, t.study.c.closed_at)).one()
    last, listed = audit.newest(connection), readers.list_readers(connection)
    return {"readers": listed, **study._mapping, "audit_entries": last.id, "audit_head": last.head}


def answers_csv(connection: Connection) -> str:
    """All final answers, formulas escaped."""
    file = io.StringIO(newline="")
    write_answer_rows(file, final_answers(connection))
    return file.getvalue()


def audit_csv(connection: Connection) -> str:
    """The audit log, formulas escaped."""
    file = io.StringIO(newline="")
    write_rows(file, [audit.LogEntry.__slots__, *map(astuple, audit.entries(connection))])
    return file.getvalue()


def protocol_json(connection: Connection, study: Study) -> str:
    """The frozen protocol; without its seed, from which orders follow, before the study is closed."""
    protocol = dict(study.protocol)
    if connection.execute(select(t.study.c.closed_at)).scalar_one() is None:
        protocol["config"] = protocol["config"] | {"seed": WITHHELD}
    return json.dumps(protocol, indent=2, ensure_ascii=False) + "\n"
