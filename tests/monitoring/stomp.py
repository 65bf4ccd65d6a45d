"""STOMP without a library: clients that can also send what no library does."""

import base64
import os
import socket
import threading

PATIENCE = 20.0


def frame(command, headers=None, body=""):
    lines = [command, *(f"{name}:{value}" for name, value in (headers or {}).items())]
    return ("\n".join(lines) + "\n\n" + body + "\0").encode()


class Tcp:
    """A STOMP client over TCP. It reads only when asked to."""

    def __init__(self, address, buffer=None):
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE)
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.connect(address)
        self._read = b""

    def connect(self, **headers):
        self.send("CONNECT", {"accept-version": "1.2", "host": "x", **headers})
        connected = self.receive()
        assert connected.startswith(b"CONNECTED\n"), connected
        return self

    def send(self, command, headers=None, body="", times=1):
        self._write(frame(command, headers, body) * times)

    def receipt(self, command, headers=None, body=""):
        """Sends a frame and waits until it has been processed."""
        self.send(command, {**(headers or {}), "receipt": "r"}, body)
        return self.until(b"RECEIPT\n")

    def receive(self):
        """Returns the next frame, without its NUL and the EOLs before it."""
        while b"\0" not in self._read.lstrip(b"\n"):
            self._read += self._more()
        taken, self._read = self._read.lstrip(b"\n").split(b"\0", 1)
        return taken

    def until(self, start):
        while not (received := self.receive()).startswith(start):
            pass
        return received

    def ended(self):
        """Reads until the broker has closed the connection."""
        try:
            while self._socket.recv(65536):
                pass
        except ConnectionError:
            pass

    def close(self):
        self._socket.close()

    def read_on(self):
        """Reads and discards all input, in a separate thread, until the connection ends."""
        threading.Thread(target=self._forget, daemon=True).start()
        return self

    def _forget(self):
        try:
            while self._more():
                pass
        except (OSError, EOFError):
            pass

    def _write(self, data):
        self._socket.sendall(data)

    def _more(self):
        if not (data := self._socket.recv(65536)):
            raise EOFError("the broker has closed the connection")
        return data


class WebSocket(Tcp):
    """The same over WebSocket. It answers Pings when it reads."""

    def __init__(self, address, path="/ws", subprotocol="v12.stomp"):
        super().__init__(address)
        self._frames = b""
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := self._socket.recv(4096)):
                break
            head += data
        self.status = int(head.split(b" ", 2)[1])
        self._frames = head.partition(b"\r\n\r\n")[2]

    def _write(self, data, opcode=1):
        # Masked with zeros, as clients must mask.
        length = len(data)
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 1 << 16:
            size = b"\xfe" + length.to_bytes(2, "big")
        else:
            size = b"\xff" + length.to_bytes(8, "big")
        self._socket.sendall(bytes([0x80 | opcode]) + size + bytes(4) + data)

    def _more(self):
        """Returns the bytes of the next message; handles control frames on the way."""
        while True:
            opcode, payload = self._frame()
            if opcode in (0, 1, 2):
                return payload
            if opcode == 8:
                self.close_code = int.from_bytes(payload[:2], "big")
                raise EOFError("the broker has closed the WebSocket")
            if opcode == 9:
                self._write(payload, opcode=10)

    def _frame(self):
        opcode, length = self._bytes(2)
        length &= 0x7F
        if length == 126:
            length = int.from_bytes(self._bytes(2), "big")
        elif length == 127:
            length = int.from_bytes(self._bytes(8), "big")
        return opcode & 0x0F, self._bytes(length)

    def _bytes(self, count):
        while len(self._frames) < count:
            self._frames += super()._more()
        taken, self._frames = self._frames[:count], self._frames[count:]
        return taken
