"""An attacker's client: blocking sockets, any source address, and many frames in one write."""

import base64
import json
import os
import select
import socket
import ssl
import struct
import time
import zlib

from process import any_certificate
from websocket import frame

# Attacks use this address or those of `other_address`, so that the witness's limits per address are unaffected.
ADDRESS = "127.0.0.66"
SECONDS = 60
LOST = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


def other_address(number):
    """One of 60,000 loopback addresses; none is the witness's, and none is `ADDRESS`."""
    return f"127.1.{number // 250}.{1 + number % 250}"


def dial(gateway, address=ADDRESS, receive_buffer=None):
    """A TCP connection, with TLS if the gateway has it."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    own.bind((address, 0))
    own.settimeout(SECONDS)
    own.connect((gateway.host, gateway.port))
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return any_certificate().wrap_socket(own) if gateway.tls else own


class Closed(Exception):
    """The gateway has closed the WebSocket; `code` is 1006 if no Close came."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed with {code} {reason}")
        self.code = code


class Refused(Exception):
    """The response to the upgrade has a status other than 101."""

    def __init__(self, status):
        super().__init__(f"the upgrade was answered {status}")
        self.status = status


class Session:
    """One WebSocket. `deflate` offers compression; `granted` says whether the gateway accepted it."""

    def __init__(self, gateway, path="/ws", address=ADDRESS, deflate=False, receive_buffer=None, headers=()):
        self.socket = dial(gateway, address, receive_buffer)
        self.held = bytearray()
        self.inflater = zlib.decompressobj(wbits=-15)
        self.events = []  # received while waiting for another event
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {gateway.host}:{gateway.port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *headers]
        if deflate:
            lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = self.read_until(b"\r\n\r\n").decode(errors="replace")
        self.granted = "permessage-deflate" in head.lower()
        status = int(head.split(" ", 2)[1]) if head.startswith("HTTP/") else 0
        if status != 101:
            self.socket.close()
            raise Refused(status)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    def drop(self):
        """A reset without a Close."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.socket.close()

    def read_until(self, end):
        while (found := self.held.find(end)) < 0:
            self.fill()
        whole = bytes(self.held[: found + len(end)])
        del self.held[: found + len(end)]
        return whole

    def read_exactly(self, size):
        while len(self.held) < size:
            self.fill()
        whole = bytes(self.held[:size])
        del self.held[:size]
        return whole

    def fill(self):
        try:
            received = self.socket.recv(1 << 18)
        except LOST:
            received = b""
        if not received:
            raise Closed(1006)
        self.held += received

    def receive_frame(self):
        """First byte and payload of the next frame."""
        first, length = self.read_exactly(2)
        if length == 126:
            length = int.from_bytes(self.read_exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(self.read_exactly(8), "big")
        return first, self.read_exactly(length)

    def receive(self):
        """The payload of the next text or binary message; answers pings."""
        while True:
            first, payload = self.receive_frame()
            if first & 15 == 8:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode(errors="replace"))
            if first & 15 == 9:
                self.send(frame(10, payload))
            elif first & 15 in (1, 2):
                return self.inflater.decompress(payload + b"\x00\x00\xff\xff") if first & 0x40 else payload

    def send(self, data):
        try:
            self.socket.sendall(data)
        except LOST:
            raise Closed(1006) from None

    def send_command(self, **command):
        self.send(command_frame(**command))

    def receive_event(self, wanted, seconds=SECONDS):
        """The next event for which `wanted` is true; keeps the others in `events`."""
        self.socket.settimeout(seconds)
        while True:
            event = json.loads(self.receive())
            if wanted(event):
                return event
            self.events.append(event)

    def ask(self, seconds=SECONDS, **command):
        """Sends the command, and returns its reply, which may be an error."""
        command.setdefault("id", 1)
        self.send_command(**command)
        return self.receive_event(lambda event: event.get("id") == command["id"], seconds)

    def ask_until_done(self, seconds=SECONDS, **command):
        """As `ask`, with retries while the reply is `rate_limited`."""
        deadline = time.monotonic() + seconds
        while (answer := self.ask(seconds, **command)).get("code") == "rate_limited" and time.monotonic() < deadline:
            time.sleep(0.25)
        return answer

    def close_code(self):
        """Reads up to the Close, and returns its code."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return closed.code


def command_frame(**command):
    return frame(1, json.dumps(command, separators=(",", ":")).encode())


# The first 900 KB of a frame of 1 MiB.
HALF_FRAME = bytes([0x81, 0xFF]) + (1 << 20).to_bytes(8, "big") + bytes(4) + b"{" * 900_000


def amid_a_frame(gateway, address=ADDRESS):
    """A session of Centrifugo's protocol that sends `HALF_FRAME` until it is closed."""
    session = Session(gateway, "/connection/websocket", address=address)
    session.socket.settimeout(2)
    try:
        session.socket.sendall(HALF_FRAME)
    except OSError:
        pass  # closed
    return session


def deflated_frame(text):
    """A compressed text frame of a client without context takeover."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    plain = frame(1, packed[:-4])
    return bytes([plain[0] | 0x40]) + plain[1:]


def is_closed(own):
    """Whether the gateway has ended this connection; discards received bytes, and does not block."""
    own.settimeout(0)
    try:
        while own.recv(1 << 16):
            pass
        return True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def read_all(sessions, until):
    """Reads and discards all input until `until()` is true or every session is closed; returns the number of bytes."""
    own = {session.socket.fileno(): session.socket for session in sessions}
    poll, total = select.epoll(), 0
    for descriptor in own:
        poll.register(descriptor, select.EPOLLIN)
    while own and not until():
        for descriptor, _ in poll.poll(0.05):
            size = read_available(own[descriptor])
            if not size:
                poll.unregister(descriptor)
                del own[descriptor]
            total += size
    return total


def read_available(own):
    """Reads the buffered bytes of a readable socket, with TLS's own; returns their number, 0 at the connection's end."""
    try:
        size = len(own.recv(1 << 18))
        while size and isinstance(own, ssl.SSLSocket) and own.pending():
            size += len(own.recv(1 << 18))
        return size
    except OSError:
        return 0


def exchange(own, method, path, headers=(), body=b"", host="127.0.0.1"):
    """One request on an open connection; status, header lines in lower case, body."""
    length = [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    own.sendall("\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *length, *headers, "", ""]).encode() + body)
    return read_response(own, method == "HEAD")


def read_response(own, is_head=False):
    held = bytearray()
    while b"\r\n\r\n" not in held:
        received = own.recv(1 << 16)
        if not received:
            raise Closed(1006, f"after {len(held)} bytes of a response's head")
        held += received
    head, _, body = bytes(held).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    status = int(lines[0].split(" ")[1])
    if is_head or status in (204, 304):
        return status, fields, b""
    body = bytearray(body)
    whole = is_whole(fields)
    while not whole(body):
        received = own.recv(1 << 18)
        if not received:
            if "content-length" not in fields and "transfer-encoding" not in fields:
                break
            raise Closed(1006, f"after {len(body)} bytes of a response's body")
        body += received
    return status, fields, bytes(body)


def is_whole(fields):
    """A function that says whether a body with these header fields is complete; chunks stay encoded."""
    if "content-length" in fields:
        length = int(fields["content-length"])
        return lambda body: len(body) >= length
    if "chunked" in fields.get("transfer-encoding", ""):
        return lambda body: body.endswith(b"0\r\n\r\n")
    return lambda body: False
