"""The wires between one gateway and the NATS servers: they may be cut, or go dead without a word."""

import asyncio

from servers import free_port

CHUNK = 64 << 10


class Wires:
    """A port for each server, in front of it. The gateway knows no other way there."""

    def __init__(self, servers):
        self.ways = [(free_port(), server.port) for server in servers.all]
        self.open = asyncio.Event()  # not set: what passes is held back
        self.open.set()
        self.refuses = False
        self.pumps, self.ends, self.listeners = set(), set(), []

    @property
    def urls(self):
        return [f"nats://127.0.0.1:{port}" for port, _ in self.ways]

    async def start(self):
        for port, target in self.ways:
            self.listeners.append(await asyncio.start_server(lambda *ends, target=target: self.take(*ends, target), "127.0.0.1", port))
        return self

    async def stop(self):
        for listener in self.listeners:
            listener.close()
        for end in self.ends:
            end.cancel()
        await asyncio.gather(*self.ends, return_exceptions=True)

    def take(self, reader, writer, target):
        end = asyncio.ensure_future(self.serve(reader, writer, target))
        self.ends.add(end)
        end.add_done_callback(self.ends.discard)

    def go_dead(self):
        """Nothing arrives, and nobody is told: what is sent meanwhile arrives when they come back."""
        self.open.clear()

    def cut(self):
        """Every connection ends, and none is made."""
        self.refuses = True
        for pump in self.pumps:
            pump.cancel()

    def mend(self):
        self.refuses = False
        self.open.set()

    async def serve(self, reader, writer, target):
        await self.open.wait()
        if self.refuses:
            writer.transport.abort()
            return
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        pumps = {asyncio.ensure_future(self.pump(reader, there)), asyncio.ensure_future(self.pump(there_reader, writer))}
        self.pumps |= pumps
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self.pumps -= pumps
            writer.transport.abort()
            there.transport.abort()

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(CHUNK):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
