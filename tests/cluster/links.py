"""Proxies between one gateway and the NATS servers, which can cut or stall its connections."""

import asyncio

from servers import free_port

CHUNK = 64 << 10


class Links:
    """A port in front of each server; the gateway knows only these ports."""

    def __init__(self, servers):
        self.ports = [(free_port(), server.port) for server in servers.all]
        self.open = asyncio.Event()  # cleared: bytes are held back
        self.open.set()
        self.refuses = False
        self.pumps, self.connections, self.listeners = set(), set(), []

    @property
    def urls(self):
        return [f"nats://127.0.0.1:{port}" for port, _ in self.ports]

    async def start(self):
        for port, target in self.ports:
            self.listeners.append(await asyncio.start_server(lambda *streams, target=target: self.accept(*streams, target), "127.0.0.1", port))
        return self

    async def stop(self):
        for listener in self.listeners:
            listener.close()
        for connection in self.connections:
            connection.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    def accept(self, reader, writer, target):
        connection = asyncio.ensure_future(self.serve(reader, writer, target))
        self.connections.add(connection)
        connection.add_done_callback(self.connections.discard)

    def stall(self):
        """Holds all bytes back until `restore`, with the connections open."""
        self.open.clear()

    def cut(self):
        """Ends every connection, and refuses new ones until `restore`."""
        self.refuses = True
        for pump in self.pumps:
            pump.cancel()

    def restore(self):
        self.refuses = False
        self.open.set()

    async def serve(self, reader, writer, target):
        await self.open.wait()
        if self.refuses:
            writer.transport.abort()
            return
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        pumps = {asyncio.ensure_future(self.pump(reader, target_writer)), asyncio.ensure_future(self.pump(target_reader, writer))}
        self.pumps |= pumps
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self.pumps -= pumps
            writer.transport.abort()
            target_writer.transport.abort()

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(CHUNK):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
