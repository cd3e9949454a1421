"""One WebSocket to the gateway that can misbehave: stop reading, read slowly, cut a frame in the middle."""

import asyncio
import base64
import json
import os
import socket
import struct

NO_MASK = bytes(4)  # a mask of zeros is valid, and needs no computation


class WebSocket(asyncio.BufferedProtocol):
    """Passes each text message to `on_text`; at the end `code` is the Close's code (1006: no Close came)."""

    def __init__(self, on_text, bytes_per_second=None):
        loop = asyncio.get_running_loop()
        self.on_text = on_text
        self.open = loop.create_future()
        self.closed = loop.create_future()
        self.code = 1006
        self.status = 0
        self.transport = None
        self.bytes_per_second = bytes_per_second  # None: no limit
        self.buffer = bytearray(64 << 10)
        self.held = bytearray()  # received bytes that are not yet a whole frame
        self.parts = bytearray()  # of a fragmented message
        self.read_again = None
        self.received_at = loop.time()

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, _hint):
        buffer = memoryview(self.buffer)
        return buffer if self.bytes_per_second is None else buffer[: max(1, self.bytes_per_second // 10)]

    def buffer_updated(self, size):
        self.received_at = asyncio.get_running_loop().time()
        self.held += memoryview(self.buffer)[:size]
        if self.bytes_per_second is not None and self.open.done():
            self.transport.pause_reading()
            self.read_again = asyncio.get_running_loop().call_later(size / self.bytes_per_second, self.resume)
        if not self.open.done() and not self.read_head():
            return
        self.read_frames()

    def read_head(self):
        head, found, rest = bytes(self.held).partition(b"\r\n\r\n")
        if not found:
            return False
        self.status = int(head.split(b" ", 2)[1])
        if self.status != 101:
            self.open.set_exception(ConnectionError(f"the upgrade was answered {self.status}"))
            self.open.exception()  # marks it as retrieved: there may be no waiter any more
            self.transport.abort()
            return False
        self.held = bytearray(rest)
        self.open.set_result(None)
        return True

    def read_frames(self):
        held, at = self.held, 0
        while len(held) - at >= 2:
            first, length, head = held[at], held[at + 1], 2
            if length >= 126:
                head = 4 if length == 126 else 10
                if len(held) - at < head:
                    break
                length = int.from_bytes(held[at + 2 : at + head], "big")
            if len(held) - at < head + length:
                break
            payload = held[at + head : at + head + length]
            at += head + length
            self.handle_frame(first & 0x0F, bool(first & 0x80), payload)
        del held[:at]

    def handle_frame(self, opcode, final, payload):
        if opcode == 8:
            self.code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self.send_frame(8, payload[:2])
            self.transport.close()
        elif opcode == 9:
            self.send_frame(10, payload)
        elif opcode in (0, 1, 2):
            if not final or opcode == 0:
                self.parts += payload
                if not final:
                    return
                payload, self.parts = self.parts, bytearray()
            self.on_text(payload)

    def connection_lost(self, _error):
        if self.read_again:
            self.read_again.cancel()
        if not self.open.done():
            self.open.set_exception(ConnectionError("the connection ended before the upgrade"))
            self.open.exception()
        if not self.closed.done():
            self.closed.set_result(self.code)

    def send_frame(self, opcode, payload):
        if self.transport and not self.transport.is_closing():
            self.transport.write(frame(opcode, payload))

    def send_command(self, command):
        self.send_frame(1, json.dumps(command, separators=(",", ":")).encode())

    def pause(self):
        self.transport.pause_reading()

    def resume(self):
        if not self.transport.is_closing():
            self.transport.resume_reading()

    async def close(self):
        """Closes the session as the contract prescribes: a Close, and the gateway's answer."""
        self.send_frame(8, struct.pack("!H", 1000))
        return await asyncio.wait_for(self.closed, 5)

    def cut(self):
        """A FIN without a Close."""
        self.transport.close()

    def cut_mid_frame(self, whole):
        """The begin of a frame of 100 bytes, with `whole` bytes of the topic, then a FIN."""
        self.transport.write(bytes([0x81, 0x80 | 100]) + NO_MASK + b'{"op":"publish","topic":"' + b"x" * whole)
        self.transport.close()

    def reset(self):
        """A RST: bytes in flight in either direction are lost."""
        if self.transport.is_closing():
            return
        own = self.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def frame(opcode, payload):
    """A client's frame, masked."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, 0x80 | 126]) + struct.pack("!H", size)
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + struct.pack("!Q", size)
    return head + NO_MASK + bytes(payload)


async def connect(port, on_text, path="/ws", receive_buffer=None, bytes_per_second=None, host="127.0.0.1"):
    """A WebSocket after the gateway's 101; `receive_buffer` bounds, in bytes, the kernel's receive buffer."""
    own = socket.socket()
    own.setblocking(False)
    if receive_buffer is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.sock_connect(own, (host, port)), 10)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport, websocket = await loop.create_connection(lambda: WebSocket(on_text, bytes_per_second), sock=own)
    except BaseException:
        own.close()
        raise
    key = base64.b64encode(os.urandom(16)).decode()
    transport.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    try:
        await asyncio.wait_for(asyncio.shield(websocket.open), 10)
    except BaseException:
        transport.abort()
        raise
    return websocket
