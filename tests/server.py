"""A server on this machine that is slow, breaks off, refuses, lies and serves corrupt files; and such files."""

import io
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from s2p_lib import downloads
from s2p_lib.fetch import CHECKSUMS

BODY = bytes(range(256)) * 40


class Site:
    """A server: ``serve(path, *answers)`` gives the answers one after another, then the last one again and again."""

    def __init__(self):
        self.answers, self.log = {}, []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.split("?")[0]
                site.log.append((path, dict(self.headers)))
                queue = site.answers.get(path, [send(status=404)])
                (queue.pop(0) if len(queue) > 1 else queue[0])(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None  # clients that go away in the middle
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, path: str, *answers) -> str:
        self.answers[path] = [send(a) if isinstance(a, bytes) else a for a in answers]
        return self.url + path

    def asked(self) -> list[str]:
        return [path for path, _ in self.log]

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.log]


@contextmanager
def running_site(monkeypatch):
    """A site that nobody waits for."""
    monkeypatch.setattr(downloads, "BACKOFF", 0)
    monkeypatch.setattr(downloads, "TIMEOUTS", (5, 5))
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def no_sleep(monkeypatch) -> list[float]:
    """Seconds that the kit would have slept; it does not."""
    naps = []
    monkeypatch.setattr(time, "sleep", lambda seconds: naps.append(seconds) if seconds else None)
    return naps


def send(body: bytes = b"", status: int = 200, send_bytes: int | None = None, before=None, **headers: str):
    """An answer; with ``send_bytes`` it breaks off there; ``before`` is called when half of it is sent."""

    def answer(handler):
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            if value is not None:
                handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        part = body[:send_bytes]
        try:
            handler.wfile.write(part[: len(part) // 2])
            handler.wfile.flush()
            if before:
                before()
            handler.wfile.write(part[len(part) // 2 :])
        except OSError:
            pass  # the client has gone
        handler.close_connection = send_bytes is not None or "Content_Length" in headers

    return answer


def ranged(body: bytes, etag: str = '"v1"', heeds_if_range: bool = True):
    """An answer that honours Range, unless If-Range says that the file has changed."""

    def answer(handler):
        wanted = handler.headers.get("Range")
        if wanted is None or (heeds_if_range and handler.headers.get("If-Range", etag) != etag):
            return send(body, ETag=etag)(handler)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        place = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return send(body[start:], 206, ETag=etag, Content_Range=place)(handler)

    return answer


def photo(color: str = "red", kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), color).save(file, kind)
    return file.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as content:
        for name, body in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor would mend it
            content.writestr(info, body, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the kit's own list."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != CHECKSUMS)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
