# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad days of object stores, made on purpose: a proxy before a real store that refuses, breaks off, loses and falsifies.

It understands HTTP, and of S3 just enough to lie well: errors, ETags, and the checksums that come with what goes up.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import struct
import threading
import time
import urllib.parse
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = [
    "CORRUPT",
    "FALSIFY",
    "FALSIFY_UP",
    "HOLD",
    "LOST",
    "RESET",
    "SWALLOW",
    "Answer",
    "ConnectProxy",
    "Edit",
    "Fault",
    "Headers",
    "HttpProxy",
    "Request",
    "OtherTime",
    "Raw",
    "is_part",
]

# Between two hops, not between the ends (RFC 9110, 7.6.1). "Expect" was answered here already.
HOP = {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "expect"}


@dataclass(frozen=True)
class Request:
    """What a rule sees. ``count`` is how many requests the rule has spoiled before this one."""

    method: str
    path: str
    query: Mapping[str, str]
    #: names in lower case
    headers: Mapping[str, str]
    count: int


@dataclass(frozen=True)
class Fault:
    """What happens to a request."""

    name: str


@dataclass(frozen=True)
class Answer(Fault):
    """The proxy answers in the store's place, with an error as S3 words it; the store hears nothing."""

    name: str = field(default="answer", init=False)
    status: int = 503
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    #: further elements of the error
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw(Fault):
    """The proxy answers in the store's place, whatever is wanted; the store hears nothing."""

    name: str = field(default="raw", init=False)
    status: int = 200
    body: bytes = b""
    kind: str = "application/xml"


@dataclass(frozen=True)
class Edit(Fault):
    """The body of the store's answer becomes another one."""

    name: str = field(default="edit", init=False)
    change: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True)
class Headers(Fault):
    """Headers of the store's answer become others, or are added."""

    name: str = field(default="headers", init=False)
    change: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OtherTime(Fault):
    """The store's clock is so many seconds ahead of ours."""

    name: str = field(default="other time", init=False)
    seconds: float = 0.0


#: The connection is reset when half of the body has come; where there is none, half of the answer has gone.
RESET = Fault("reset")
#: "Stored", with the right ETag, and it is not: what the store never gets, it loses.
SWALLOW = Fault("swallow")
#: One byte of the body becomes another on its way up. A store that compares checksums says so, as S3 does.
CORRUPT = Fault("corrupt")
#: The same, and the store compares nothing, as some do.
FALSIFY_UP = Fault("falsify up")
#: One byte of the answer's body becomes another on its way down.
FALSIFY = Fault("falsify")
#: It is done, and nobody hears of it: the connection is reset instead of the answer.
LOST = Fault("lost")
#: It waits until `HttpProxy.release`, and goes on.
HOLD = Fault("hold")

Rule = Callable[[Request], "Fault | None"]


def is_part(request: Request) -> bool:
    """Whether it brings a part of an object (S3's upload of a part, or Azure's of a block)."""
    return request.method == "PUT" and ("partNumber" in request.query or request.query.get("comp") == "block")


class HttpProxy:
    """A port before a store. Without a rule all passes as it is: method, path, query, headers (Host too, so that
    signatures hold) and body. Use it as a context manager."""

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self.target_port = target_port
        self._host = f"[{host}]" if ":" in host else host
        self._rule: Rule | None = None
        self._guard = threading.Lock()
        self._released = threading.Event()
        self._struck = 0
        #: what came since the rule was made: method and path with query
        self.seen: list[str] = []
        self._server = (_Server6 if ":" in host else _Server)((host, 0), _Handler)
        self._server.proxy = self
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> HttpProxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where clients go instead."""
        return f"http://{self._host}:{self.port}"

    @property
    def struck(self) -> int:
        """How many requests the rule has spoiled."""
        return self._struck

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[None]:
        """Ask a rule about every request; None lets it pass. Afterwards all passes again, and what is held goes on."""
        with self._guard:
            self._rule, self._struck, self.seen = rule, 0, []
            self._released.clear()
        try:
            yield
        finally:
            with self._guard:
                self._rule = None
            self.release()

    def release(self) -> None:
        """Let what is held go on."""
        self._released.set()

    def wait_for(self, count: int = 1, timeout: float = 60) -> None:
        """Return when the rule has spoiled so many requests."""
        deadline = time.monotonic() + timeout
        while self._struck < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._struck} requests were spoiled in {timeout} s, not {count}: {self.seen}")
            time.sleep(0.01)

    def judge(self, method: str, target: str, headers: Message) -> Fault | None:
        """What the rule says of a request."""
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        names = {name.lower(): value for name, value in headers.items()}
        with self._guard:
            self.seen.append(f"{method} {target}")
            if self._rule is None:
                return None
            fault = self._rule(Request(method, urllib.parse.unquote(url.path), query, names, self._struck))
            self._struck += fault is not None
            return fault

    def hold(self) -> None:
        """Wait for `release`."""
        self._released.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    proxy: HttpProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed break their connections: that is what they are for."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def _all(self) -> None:
        fault = self.server.proxy.judge(self.command, self.path, self.headers)
        if fault is RESET and self._length():
            self.rfile.read(self._length() // 2)
            self._reset()
            return
        body = self._body()
        if fault is HOLD:
            self.server.proxy.hold()
        elif isinstance(fault, Answer):
            self._error(fault)
            return
        elif isinstance(fault, Raw):
            self._say(fault.status, fault.body, kind=fault.kind)
            return
        elif fault is SWALLOW:
            self._stored(body)
            return
        elif fault in (CORRUPT, FALSIFY_UP):
            body = _flip(body)
            if fault is CORRUPT and not _sums_match(self.headers, body):
                self._error(
                    Answer(400, "BadDigest", "The Content-MD5 or checksum value that you specified did not match")
                )
                return
        self._forward(body, fault)

    do_DELETE = do_GET = do_HEAD = do_PATCH = do_POST = do_PUT = _all

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(self._length())
        chunks = []
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            chunks.append(self.rfile.read(size))
            if not size:
                while self.rfile.readline().strip():  # trailers
                    pass
                return b"".join(chunks)
            self.rfile.readline()

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        store = http.client.HTTPConnection("127.0.0.1", self.server.proxy.target_port, timeout=60)
        try:
            store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP | {"content-length"}:
                    store.putheader(name, value)
            if body or self.command in ("PUT", "POST", "PATCH") or self.headers.get("Content-Length"):
                store.putheader("Content-Length", str(len(body)))
            store.endheaders(body or None)
            answer = store.getresponse()
            data = answer.read()
        except OSError:  # the store is down: the client sees a connection that ends at once
            self.close_connection = True
            return
        finally:
            store.close()
        if fault is LOST:
            self._reset()
            return
        if fault is FALSIFY:
            data = _flip(data)
        elif isinstance(fault, Edit):
            data = fault.change(data)
        self.send_response_only(answer.status, answer.reason)
        other = {name.lower(): value for name, value in fault.change.items()} if isinstance(fault, Headers) else {}
        for name, value in other.items():
            self.send_header(name, value)
        for name, value in answer.getheaders():
            if name.lower() in other:
                continue
            if name.lower() == "date" and isinstance(fault, OtherTime):
                value = formatdate(time.time() + fault.seconds, usegmt=True)
            if name.lower() not in HOP | {"content-length"}:
                self.send_header(name, value)
        # The answer to a HEAD tells a length, and has none.
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        if length is not None and answer.status not in (204, 304):
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault is RESET else data)
        if fault is RESET:
            self._reset()

    def _error(self, fault: Answer) -> None:
        extra = "".join(f"<{name}>{value}</{name}>" for name, value in fault.extra.items())
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{fault.code}</Code><Message>{fault.message}</Message>{extra}'
        self._say(fault.status, f"{text}<RequestId>LAB</RequestId></Error>".encode())

    def _stored(self, body: bytes) -> None:
        """What a store answers that has stored it."""
        tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        sums = {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-checksum-")}
        text = ""
        if self.command == "POST":  # an object of parts gets its ETag in words
            text = f"<CompleteMultipartUploadResult><ETag>{tag.strip(chr(34))}-1</ETag></CompleteMultipartUploadResult>"
        self._say(200, text.encode(), {"ETag": tag, **sums})

    def _say(
        self, status: int, data: bytes, headers: Mapping[str, str] | None = None, kind: str = "application/xml"
    ) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        """RST, and not the orderly end that closing is."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The files share the socket, which is closed, and so reset, with the last of them.
        self.rfile.close()
        self.connection.close()


# A proxy as companies have it


class ConnectProxy:
    """A forward proxy that knows nothing but CONNECT, and wants a user's name and password ("user:password") if told so. All
    hosts are this one. Use it as a context manager."""

    def __init__(self, credentials: str | None = None) -> None:
        self.credentials = credentials
        #: which hosts and ports it was asked for
        self.asked: list[str] = []
        self._server = _ConnectServer(("127.0.0.1", 0), _Connect)
        self._server.proxy = self
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> ConnectProxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _ConnectServer(ThreadingHTTPServer):
    daemon_threads = True
    proxy: ConnectProxy


class _Connect(BaseHTTPRequestHandler):
    server: _ConnectServer

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def do_CONNECT(self) -> None:
        wanted = self.server.proxy.credentials
        given = self.headers.get("Proxy-Authorization")
        if wanted and given != f"Basic {b64encode(wanted.encode()).decode()}":
            self.send_error(407)
            return
        self.server.proxy.asked.append(self.path)
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as store:
            self.send_response_only(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(store, self.connection), daemon=True)
            back.start()
            _pour(self.connection, store)
            back.join()
        self.close_connection = True


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :] if data else data


def _sums_match(headers: Message, body: bytes) -> bool:
    """Whether a body has the checksums that its headers say, so far as there are any."""
    sums = {
        "content-md5": hashlib.md5(body, usedforsecurity=False).digest(),
        "x-amz-checksum-crc32": zlib.crc32(body).to_bytes(4, "big"),
        "x-amz-checksum-sha256": hashlib.sha256(body).digest(),
    }
    signed = headers.get("x-amz-content-sha256", "")
    return (not re.fullmatch("[0-9a-f]{64}", signed) or signed == hashlib.sha256(body).hexdigest()) and all(
        headers.get(name) in (None, b64encode(value).decode()) for name, value in sums.items()
    )
