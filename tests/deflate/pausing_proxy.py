"""A proxy between a client and the gateway that can pause, and records the sizes of the gateway's frames."""

import asyncio
import socket

HEAD_END = b"\r\n\r\n"
# The kernel's receive buffer, small so that a paused proxy soon blocks the gateway.
RECEIVE_BUFFER = 8 << 10
# Short segments keep the gateway's send buffer small, which would be megabytes on loopback.
SEGMENT_BYTES = 1_000


class PausingProxy:
    """`frames` has for each data frame to the client whether it was compressed, and the bytes of its payload."""

    def __init__(self, port):
        self.gateway_port = port
        self.answer = ""
        self.frames = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.tasks = set()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()

    def pause(self):
        self.is_open.clear()

    def resume(self):
        self.is_open.set()

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        loop, own = asyncio.get_running_loop(), socket.socket()
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        await loop.sock_connect(own, ("127.0.0.1", self.gateway_port))
        sender = asyncio.create_task(self.forward_commands(reader, own))
        self.tasks.add(sender)
        recorder = FrameRecorder(self)
        try:
            while data := await loop.sock_recv(own, 64 << 10):
                recorder.record(data)
                writer.write(data)
                await writer.drain()
                await self.is_open.wait()
        except (OSError, asyncio.CancelledError):
            pass  # the client or the suite has ended
        finally:
            sender.cancel()
            own.close()
            writer.close()

    async def forward_commands(self, reader, own):
        while data := await reader.read(64 << 10):
            await asyncio.get_running_loop().sock_sendall(own, data)


class FrameRecorder:
    """Parses the bytes of one connection to the client, and records its frames if it is a WebSocket."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.held = bytearray()
        self.is_websocket = None  # unknown before the response's head

    def record(self, data):
        self.held += data
        if self.is_websocket is None:
            head, found, rest = bytes(self.held).partition(HEAD_END)
            if not found:
                return
            self.is_websocket, self.held = head.startswith(b"HTTP/1.1 101"), bytearray(rest)
            if self.is_websocket:
                self.proxy.answer = extensions(head.decode())
        if not self.is_websocket:
            self.held.clear()
            return
        at = 0
        while (length := frame_length(self.held, at)) and at + sum(length) <= len(self.held):
            head, payload = length
            if self.held[at] & 0x0F == 1:
                self.proxy.frames.append((bool(self.held[at] & 0x40), payload))
            at += head + payload
        del self.held[:at]


def extensions(head):
    lines = (line.partition(":") for line in head.split("\r\n"))
    return "".join(value.strip() for name, _, value in lines if name.lower() == "sec-websocket-extensions")


def frame_length(held, at):
    """The lengths of the head and the payload of the frame at `at`, or None if its head is incomplete."""
    if len(held) < at + 2:
        return None
    short = held[at + 1]
    head = {126: 4, 127: 10}.get(short, 2)
    if len(held) < at + head:
        return None
    return head, short if head == 2 else int.from_bytes(held[at + 2 : at + head], "big")
