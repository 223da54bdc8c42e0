"""A server on this machine that speaks the protocol of the Hugging Face Hub, and can fail in the ways of a network.

`HF_ENDPOINT` names it. Large files are redirected to another address, as the Hub does; all can be asked for in parts.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np

EMBEDDINGS = "datasets/MarrLab/DinoBloom_hemato_embeddings"
_LARGE = (".h5", ".safetensors")


@dataclass
class Hub:
    """Repositories by name (``datasets/OWNER/NAME`` or ``OWNER/NAME``), what was asked, and what goes wrong."""

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    cut_after: list[int] = field(default_factory=list)  # The next answers with files break off after so many bytes
    wrong: set[str] = field(default_factory=set)  # Paths whose content is another than the list says
    page: bytes = b""  # Sent instead of any answer: the login page of a network
    flow: threading.Event = field(default_factory=threading.Event)  # Cleared: files stop after the first bytes
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # Method, path, range

    def ranges(self) -> list[str]:
        """What was asked for files, in parts or whole (""), without the redirects."""
        return [span for _, path, span in self.asked if path.startswith("/cdn/")]

    def commit(self, name: str) -> str:
        names = json.dumps(sorted((path, sha256(content)) for path, content in self.repositories[name].items()))
        return hashlib.sha1(names.encode()).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def embeddings(label: int | None, *, cells: int = 60, width: int = 768, seed: int = 0) -> bytes:
    """Return a file of the published form: `features` (N, width) float32, `labels` one integer."""
    rng = np.random.default_rng(seed)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        middle = np.random.default_rng(1000 + (label or 0)).normal(size=width)
        file["features"] = (middle + rng.normal(size=(cells, width))).astype(np.float32)
        if label is not None:
            file["labels"] = label
    return content.getvalue()


@contextmanager
def serving() -> Iterator[Hub]:
    """Yield a running hub without repositories."""
    hub = Hub()
    hub.flow.set()
    handler = type("HubHandler", (_Handler,), {"hub": hub})
    with _Server(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield hub
        hub.flow.set()
        server.shutdown()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Write nothing: clients that are stopped close their connections."""


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self.hub.asked.append((self.command, self.path, self.headers.get("Range", "")))
        path = unquote(urlsplit(self.path).path)
        if self.hub.page:
            self._send(self.hub.page, "text/html")
        elif found := re.fullmatch(r"/api/(models/|datasets/)([^/]+/[^/]+)/(revision|tree)/([^/]+)/?(.*)", path):
            kind, name, what, revision, under = found.groups()
            name = name if kind == "models/" else f"datasets/{name}"
            if self._may_read(name, revision):
                self._json(self._info(name) if what == "revision" else self._tree(name, under))
        elif found := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, revision, file = found.groups()
            if self._may_read(name, revision):
                self._resolve(self.hub.repositories[name], file)
        elif found := re.fullmatch(r"/cdn/(.+/.+?)/-/(.+)", path):
            self._send_file(self.hub.repositories[found[1]][found[2]], found[2])
        else:
            self._fail(404, "RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.asked.append((self.command, self.path, ""))
        if self.headers.get("Authorization") != "Bearer hf_writes" and "validate" not in self.path:
            self._fail(401, "")
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.repositories.setdefault(name, {})
            self._json({"url": f"{self.hub.address}/{name}"})
        elif "/preupload/" in self.path:
            files = [{"path": one["path"], "uploadMode": "regular"} for one in json.loads(body)["files"]]
            self._json({"files": [one | {"shouldIgnore": False} for one in files]})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/.+", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.hub.repositories[found[1]][line["value"]["path"]] = content
            commit = self.hub.commit(found[1])
            self._json(
                {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.address}/{found[1]}/commit/{commit}"}
            )
        else:
            self._json({"warnings": [], "errors": []})

    def log_message(self, *args: object) -> None:
        """Write nothing."""

    def _may_read(self, name: str, revision: str) -> bool:
        if name not in self.hub.repositories:
            self._fail(401, "")  # as for a private one
        elif name in self.hub.gated and self.headers.get("Authorization") is None:
            self._fail(401, "GatedRepo")
        elif revision not in ("main", self.hub.commit(name)):
            self._fail(404, "RevisionNotFound")
        else:
            return True
        return False

    def _info(self, name: str) -> dict[str, object]:
        bare = name.removeprefix("datasets/")
        return {"_id": "1", "id": bare, "sha": self.hub.commit(name), "tags": ["license:apache-2.0"], "siblings": []}

    def _tree(self, name: str, under: str) -> list[dict[str, object]] | None:
        files = {path: content for path, content in self.hub.repositories[name].items() if path.startswith(under)}
        if under and not files:
            self._fail(404, "EntryNotFound")
            return None
        folders = {path.rpartition("/")[0] for path in files} - {""}
        return [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)] + [
            _entry(path, content) for path, content in files.items()
        ]

    def _resolve(self, files: dict[str, bytes], file: str) -> None:
        name = next(name for name, one in self.hub.repositories.items() if one is files)
        if file not in files:
            self._fail(404, "EntryNotFound")
        elif file.endswith(_LARGE):
            self.send_response(302)
            self.send_header("Location", f"{self.hub.address}/cdn/{name}/-/{file}")
            self.send_header("X-Repo-Commit", self.hub.commit(name))
            self.send_header("X-Linked-Etag", f'"{sha256(files[file])}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_file(files[file], file)

    def _send_file(self, content: bytes, file: str) -> None:
        if file in self.hub.wrong:
            content = bytes(len(content))
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.hub.cut_after.pop(0) if self.hub.cut_after else len(content)
        if not self.hub.flow.is_set():
            self.wfile.write(content[start : start + 100_000])
            start += 100_000
            self.hub.flow.wait(20)
        self.wfile.write(content[start : max(start, cut)])

    def _json(self, answer: object) -> None:
        if answer is not None:
            self._send(json.dumps(answer).encode(), "application/json")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _fail(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _entry(path: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    entry = {"type": "file", "path": path, "oid": blob, "size": len(content)}
    if not path.endswith(_LARGE):
        return entry
    return entry | {"lfs": {"oid": sha256(content), "size": len(content), "pointerSize": 130}}
