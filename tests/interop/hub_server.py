"""A local server of repositories, which answers as the Hugging Face Hub does, with ranges."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass
class Hub:
    """The repositories, by ``org/name``, and what has been asked of them."""

    folders: dict[str, Path]
    endpoint: str = ""
    has_ranges: bool = True  # whether it sends the part of a file that is asked for, or all of it
    asked: list[str] = field(default_factory=list)  # the path and the range of each request
    sent_bytes: int = 0

    @property
    def environment(self) -> dict[str, str | None]:
        """The variables with which huggingface_hub asks this server."""
        variables = {"HF_ENDPOINT": self.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": "none"}
        return {**variables, "HF_HUB_OFFLINE": None}


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """Serve repositories until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            """Answer with a file, a part of it, or an error."""
            range_ = self.headers.get("Range", "")
            hub.asked.append(f"{self.path} {range_}")
            found = re.fullmatch(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", self.path)
            assert found is not None, self.path
            folder = hub.folders.get(found["name"])
            if found["name"] == "org/gated":
                return self.refuse(403, "GatedRepo")
            if folder is None:
                return self.refuse(404, "RepoNotFound")
            if unquote(found["revision"]) not in ("main", "refs/pr/1"):
                return self.refuse(404, "RevisionNotFound")
            if not (folder / found["file"]).is_file():
                return self.refuse(404, "EntryNotFound")
            data = (folder / found["file"]).read_bytes()
            stop = int(range_.removeprefix("bytes=0-")) + 1
            part = data[:stop] if hub.has_ranges else data
            self.send_response(206 if hub.has_ranges else 200)
            if hub.has_ranges:
                self.send_header("Content-Range", f"bytes 0-{len(part) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            try:
                self.wfile.write(part)
            except ConnectionError:
                return None  # the client has read enough
            hub.sent_bytes += len(part)
            return None

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
