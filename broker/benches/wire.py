"""A minimal STOMP client for measurements, over TCP or WebSocket: frames out, bytes in.

Frames of WebSocket are masked with zeros: servers unmask that like any other mask, and it costs us nothing.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NO_MASK = bytes(4)
CONNECTED = b"CONNECTED\n"
EOL = b"\n"


class Refused(Exception):
    """The server refuses the connection."""


def address(url: str) -> tuple[str, int]:
    """Host and port of ws://host:port/path or tcp://host:port."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "tcp") or not parts.hostname or not parts.port:
        raise ValueError(f"{url}: write ws://host:port/path or tcp://host:port")
    return parts.hostname, parts.port


def frame(command: str, headers: dict[str, object], body: bytes = b"") -> bytes:
    """A STOMP frame. Our values need no escapes."""
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return f"{command}\n{lines}\n".encode() + body + b"\0"


def connect_frame(heart_beat: str = "0,0", login: str | None = None, passcode: str | None = None) -> bytes:
    headers: dict[str, object] = {"accept-version": "1.2", "host": "/", "heart-beat": heart_beat}
    if login is not None:
        headers.update(login=login, passcode=passcode or "")
    return frame("CONNECT", headers)


def web_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + NO_MASK + payload


class Wire:
    """A connection on which STOMP can be spoken; over WebSocket the handshake is done."""

    def __init__(self, url: str, receive_buffer: int | None = None, timeout: float = 10.0) -> None:
        self.web = url.startswith("ws:")
        self.socket = _open(address(url), receive_buffer, timeout)
        try:
            # Bytes that arrived after the reply to the handshake.
            self.early = self._shake_hands(url) if self.web else b""
        except BaseException:
            self.socket.close()
            raise

    def wrap(self, data: bytes) -> bytes:
        """Encodes a STOMP frame or an EOL for sending."""
        return web_frame(data) if self.web else data

    def send(self, data: bytes) -> None:
        self.socket.sendall(self.wrap(data))

    def receive(self, most: int) -> bytes:
        """The next raw bytes; none if the server has closed."""
        early, self.early = self.early[:most], self.early[most:]
        return early or self.socket.recv(most)

    def close(self) -> None:
        self.socket.close()

    def _shake_hands(self, url: str) -> bytes:
        host, port = address(url)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {urlsplit(url).path or '/'} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Protocol: v12.stomp\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self.socket.recv(4096)
            if not data:
                raise Refused("the server closed during the handshake")
            answer += data
        head, _, early = answer.partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode(errors="replace")
        if " 101" not in status:
            raise Refused(f"{url}: {status}")
        return early


def _open(host_and_port: tuple[str, int], receive_buffer: int | None, timeout: float) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(*host_and_port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        if receive_buffer:
            # Before connecting: the offered window depends on it.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.settimeout(timeout)
        opened.connect(where)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        opened.close()
        raise
    return opened
