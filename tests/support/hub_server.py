"""A server on this machine that answers as the Hugging Face Hub does, as far as pushing and pulling models goes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "x" * 34


@dataclass
class Repository:
    """Branches with their files; a commit is known by a hash of its files; gated: everybody sees it, nobody has it."""

    private: bool = False
    gated: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {".gitattributes": b"*\n"}})

    def files(self, revision: str) -> dict[str, bytes]:
        commits = {commit(files): files for files in self.branches.values()}
        return self.branches.get(revision) or commits.get(revision) or {}


@dataclass
class Hub:
    """What the server holds, and what it was asked: method and path of each request."""

    address: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes]) -> None:
        """Have a public repository with these files."""
        self.repositories[name] = Repository(branches={"main": files})


def commit(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted((name, sha256(content)) for name, content in files.items())).encode()).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve on a free port of this machine meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.hub  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        self.hub.requests.append(f"{self.command} {urlsplit(self.path).path}")

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer_json(self, content: Any, status: int = 200, **headers: str) -> None:
        self.answer(json.dumps(content).encode(), status, Content_Type="application/json", **headers)

    def refuse(self, code: str, status: int = 404) -> None:
        self.answer_json({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def allowed(self, name: str) -> bool:
        """Whether the repository is there for whoever asks."""
        repository = self.hub.repositories.get(name)
        return repository is not None and (not repository.private or self.authorised)

    @property
    def authorised(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            name, rest = "/".join(parts[2:4]), parts[4:]
        else:
            name, rest = "/".join(parts[:2]), parts[2:]
        if not self.allowed(name):
            return self.refuse("RepoNotFound", 401)
        repository = self.hub.repositories[name]
        revision = rest[1] if len(rest) > 1 else "main"
        files = repository.files(revision)
        if not files:
            return self.refuse("RevisionNotFound")
        if rest[:1] == ["resolve"]:
            if repository.gated:
                return self.refuse("GatedRepo", 403)
            return self.send_file(files, "/".join(rest[2:]))
        if rest[:1] == ["tree"]:
            return self.answer_json(
                [
                    {"type": "file", "path": path, "size": len(content), "oid": sha256(content)}
                    for path, content in sorted(files.items())
                ]
            )
        return self.answer_json(
            {
                "id": name,
                "sha": commit(files),
                "private": repository.private,
                "siblings": [{"rfilename": path} for path in sorted(files)],
            }
        )

    do_HEAD = do_GET

    def send_file(self, files: dict[str, bytes], path: str) -> None:
        if path not in files:
            return self.refuse("EntryNotFound")
        return self.answer(files[path], ETag=f'"{sha256(files[path])}"', X_Repo_Commit=commit(files))

    def do_PUT(self) -> None:
        self.hub.stored[self.path.rpartition("/")[2]] = self.body()
        self.answer(b"")

    def do_POST(self) -> None:
        body, parts = self.body(), [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if not self.authorised:
            return self.refuse("Unauthorized", 401)
        if parts == ["api", "repos", "create"]:
            return self.create(json.loads(body))
        if parts == ["api", "validate-yaml"]:
            return self.answer_json({"errors": [], "warnings": []})
        if parts[-1] == "batch":
            objects = [
                item | {"actions": {"upload": {"href": f"{self.hub.address}/store/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            return self.answer_json({"transfer": "basic", "objects": objects})
        repository = self.hub.repositories.get("/".join(parts[2:4]))
        if repository is None:
            return self.refuse("RepoNotFound")
        if parts[4] == "branch":
            new = repository.branches.setdefault(parts[5], dict(repository.branches["main"]))
            return self.answer_json({"files": len(new)})
        if parts[4] == "preupload":
            modes = [
                {
                    "path": f["path"],
                    "shouldIgnore": False,
                    "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                }
                for f in json.loads(body)["files"]
            ]
            return self.answer_json({"files": modes})
        return self.take("/".join(parts[2:4]), repository.branches[parts[5]], body)

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        known = name in self.hub.repositories
        self.hub.repositories.setdefault(name, Repository(wanted.get("visibility") == "private"))
        self.answer_json({"url": f"{self.hub.address}/{name}"}, 409 if known else 200)

    def take(self, name: str, files: dict[str, bytes], body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        new = commit(files)
        self.answer_json({"commitUrl": f"{self.hub.address}/{name}/commit/{new}", "commitOid": new})
