"""An HTTP server on the loopback interface with configurable faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """A file and how it is served.

    Attributes
    ----------
    cuts
        Bytes after which the connection is closed, one entry per request.
    statuses
        HTTP status to send instead of the file, one entry per request; 0 sends the file.
    conditions
        Whether a part is sent only of the version that the request names.
    dated_parts
        Whether the answer with a part has the date of the file.
    """

    data: bytes = b""
    etag: str = '"one"'
    modified: str = ""
    kind: str = "application/octet-stream"
    disposition: str = ""
    encoding: str = ""
    location: str = ""
    ranges: bool = True
    conditions: bool = True
    dated_parts: bool = True
    chunked: bool = False
    delay_s: float = 0.0
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    retry_after: str = ""


class FileServer:
    """The server's files by path, and the (path, headers) of its requests."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    def put(self, path: str, data: bytes = b"", **how: object) -> str:
        self.files[path] = Served(data, **how)  # type: ignore[arg-type]
        return self.url + path

    def ranges(self) -> list[str]:
        return [headers.get("Range", "") for _, headers in self.requests]


@contextmanager
def serving() -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append((self.path, dict(self.headers.items())))
            file = served.files.get(self.path.split("?")[0])
            if file is None:
                self.send_error(404)
            elif file.statuses and (status := file.statuses.pop(0)):
                self.send_response(status)
                if file.retry_after:
                    self.send_header("Retry-After", file.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif file.location:
                self.send_response(302)
                self.send_header("Location", file.location)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.answer(file)

        def answer(self, file: Served) -> None:
            start, size, date = 0, len(file.data), file.modified
            asked = self.headers.get("Range", "")
            condition = self.headers.get("If-Range", "")
            met = not file.conditions or condition in ("", file.etag, file.modified)
            if asked and file.ranges and met:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= size:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{size}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                date = date if file.dated_parts else ""
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", file.kind)
            for name, value in (
                ("ETag", file.etag),
                ("Last-Modified", date),
                ("Content-Disposition", file.disposition),
                ("Content-Encoding", file.encoding),
            ):
                if value:
                    self.send_header(name, value)
            if file.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(size - start))
            self.end_headers()
            time.sleep(file.delay_s)
            self.body(file, file.data[start:])

        def body(self, file: Served, data: bytes) -> None:
            cut = file.cuts.pop(0) if file.cuts else len(data)
            sent = data[:cut]
            if file.chunked and sent:
                sent = b"%x\r\n%s\r\n" % (len(sent), sent)
            if file.chunked and cut >= len(data):
                sent += b"0\r\n\r\n"
            self.wfile.write(sent)
            if cut < len(data):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # some tests close the connection

    server = Server(("127.0.0.1", 0), Handler)
    served = FileServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
