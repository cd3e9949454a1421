"""A gate between a client and the gateway, which can be shut: it notes what the gateway's frames took, and its socket is a small one."""

import asyncio
import socket

HEAD_END = b"\r\n\r\n"
# What the kernel takes in for a reader that stands still, so that it is the gateway which has to wait.
RECEIVE_BUFFER = 8 << 10
# Short segments keep the gateway's own send buffer small: on a loopback the kernel makes it megabytes.
SEGMENT_BYTES = 1_000


class Gate:
    """`frames` has of each data frame that went to the client through a WebSocket whether it was compressed, and its payload's bytes."""

    def __init__(self, port):
        self.gateway_port = port
        self.answer = ""
        self.frames = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.tasks = set()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()

    def shut(self):
        self.is_open.clear()

    def open(self):
        self.is_open.set()

    async def take(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        loop, own = asyncio.get_running_loop(), socket.socket()
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        await loop.sock_connect(own, ("127.0.0.1", self.gateway_port))
        sender = asyncio.create_task(self.send(reader, own))
        self.tasks.add(sender)
        notes = Notes(self)
        try:
            while data := await loop.sock_recv(own, 64 << 10):
                notes.take(data)
                writer.write(data)
                await writer.drain()
                await self.is_open.wait()
        except (OSError, asyncio.CancelledError):
            pass  # the client or the suite is done
        finally:
            sender.cancel()
            own.close()
            writer.close()

    async def send(self, reader, own):
        while data := await reader.read(64 << 10):
            await asyncio.get_running_loop().sock_sendall(own, data)


class Notes:
    """Reads along what one connection is sent, if it is a WebSocket."""

    def __init__(self, gate):
        self.gate = gate
        self.held = bytearray()
        self.is_websocket = None  # until the head has come

    def take(self, data):
        self.held += data
        if self.is_websocket is None:
            head, found, rest = bytes(self.held).partition(HEAD_END)
            if not found:
                return
            self.is_websocket, self.held = head.startswith(b"HTTP/1.1 101"), bytearray(rest)
            if self.is_websocket:
                self.gate.answer = extensions(head.decode())
        if not self.is_websocket:
            self.held.clear()
            return
        at = 0
        while (length := frame_length(self.held, at)) and at + sum(length) <= len(self.held):
            head, payload = length
            if self.held[at] & 0x0F == 1:
                self.gate.frames.append((bool(self.held[at] & 0x40), payload))
            at += head + payload
        del self.held[:at]


def extensions(head):
    lines = (line.partition(":") for line in head.split("\r\n"))
    return "".join(value.strip() for name, _, value in lines if name.lower() == "sec-websocket-extensions")


def frame_length(held, at):
    """The bytes of the head and the payload of the frame that begins there, if that much has come."""
    if len(held) < at + 2:
        return None
    short = held[at + 1]
    head = {126: 4, 127: 10}.get(short, 2)
    if len(held) < at + head:
        return None
    return head, short if head == 2 else int.from_bytes(held[at + 2 : at + head], "big")
