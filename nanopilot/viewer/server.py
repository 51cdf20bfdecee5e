"""Answers the browser: the page's own files, the log's summary, one step, one picture. GET and HEAD, nothing else.

In: an Index. Out: HTTP/1.1 on one address. No request names a file: the page's files are read once, at the start, into a
table, and anything that is not in it is 404. The Host header must name this machine, so that no foreign page can
reach us by a name it points here (DNS rebinding). At most CONNECTIONS are open: one more closes the one that has been
silent longest, and TIMEOUT ends a client that neither reads nor writes, so no client can keep others out.

    /                        the page                 /api/step?t=S               messages of the step at S seconds
    /NAME                    one of its files         /api/picture?t=S&camera=C   JPEG
    /api/log?since=S         summary, times and events after S seconds (all unless given)
"""

from __future__ import annotations

import json
import socket
import sys
from collections import OrderedDict
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from socketserver import TCPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from nanopilot.viewer.index import Index

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml"}  # fmt: skip
TIMEOUT = 10.0  # s a client may keep us waiting in one read or write
CONNECTIONS = 64  # open at once: a browser opens six
FAR = 1e11  # s: no time is greater, counted from whatever year
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Bound on creation, serving after `serve_forever`. Raises ValueError when the address can't be had."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, index: Index) -> None:
        self.host, self.index = host, index
        self.files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}
        self._open: OrderedDict[socket.socket, None] = OrderedDict()
        self._lock = Lock()
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), Handler)
        except OSError as error:
            hint = "; --port 0 takes a free one" if port else ""
            raise ValueError(f"can't listen on {host} port {port}: {error.strerror}{hint}") from error

    @property
    def url(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{'127.0.0.1' if name == '0.0.0.0' else '[::1]' if name == '[::]' else name}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """As TCPServer's: HTTPServer's asks the network for our name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def knows(self, name: str) -> bool:
        """Whether a Host header names us: the host we were told, this machine, or, when we serve others, any bare address."""
        name = name.rsplit(":", 1)[0] if not name.endswith("]") else name
        name = name.strip("[]").lower()
        if name in (self.host.lower(), "localhost"):
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not _loopback(self.host)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = None
            crowd = len(self._open) > CONNECTIONS
            oldest = next(iter(self._open))
            if crowd:
                del self._open[oldest]
        if crowd:
            _hang_up(oldest)
        super().process_request(request, client_address)

    def busy(self, request: socket.socket) -> None:
        """Called at each whole request: the connection is the last to be closed for others' sake."""
        with self._lock:
            if request in self._open:
                self._open.move_to_end(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; a fault of ours is."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection, with as many requests as the client likes."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nanopilot", ""
    timeout = TIMEOUT
    wbufsize = 1 << 16  # head and body in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.busy(self.connection)
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.knows(hosts[0]):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this page has another address", "Open it by the address it was started with.")
            return
        url = urlsplit(self.path)
        try:
            query = {name: values[-1] for name, values in parse_qs(url.query, max_num_fields=8).items()}
            answer = self.answer(url.path, query)
        except ValueError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
            return
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body, kind = answer
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def refuse(self) -> None:
        self.close_connection = True  # its body is not read
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = refuse

    def answer(self, path: str, query: dict[str, str]) -> tuple[bytes, str] | None:
        """Body and type; None for what is not there. Raises ValueError on a query that makes no sense."""
        index = self.server.index
        if path == "/api/log":
            return json.dumps(index.summary(_seconds(query.get("since", str(-FAR)))), separators=(",", ":")).encode(), "application/json"
        if path == "/api/step":
            messages = index.step(_seconds(query.get("t", "")))
            if messages is None:
                return None
            return b"{" + b",".join(json.dumps(name).encode() + b":" + text for name, text in messages.items()) + b"}", "application/json"
        if path == "/api/picture":
            jpeg = index.picture(_seconds(query.get("t", "")), query.get("camera", ""))
            return None if jpeg is None else (jpeg, "image/jpeg")
        name = path.removeprefix("/") or "index.html"
        return (self.server.files[name], TYPES[Path(name).suffix]) if name in self.server.files else None

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if getattr(self, "command", None) not in ("GET", "HEAD"):
            self.send_header("Allow", "GET, HEAD")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal belongs to who started us."""


def _seconds(text: str) -> float:
    """A time in a query."""
    try:
        value = float(text)
    except ValueError:
        value = FAR * 2
    if not isfinite(value) or abs(value) > FAR:
        raise ValueError("a time in seconds is needed")
    return value


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _hang_up(connection: socket.socket) -> None:
    """End a connection whose own thread then cleans up."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
