"""A byte proxy that mistreats what passes: it delays, throttles, splits, stalls, cuts, resets, swallows."""

import asyncio
import random
import socket
import struct

CHUNK = 16 << 10


class Toxic:
    """What happens to the bytes of one direction; the default lets them pass."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    async def pass_on(self, data, writer, _passed):
        """Passes `data` on; `False` ends the connection."""
        writer.write(data)
        await writer.drain()
        return True


class Delay(Toxic):
    """50 ms in each direction, plus up to 50."""

    async def pass_on(self, data, writer, passed):
        await asyncio.sleep(self.rng.uniform(0.05, 0.1))
        return await super().pass_on(data, writer, passed)


class Throttle(Toxic):
    """8 KiB a second."""

    async def pass_on(self, data, writer, passed):
        for begin in range(0, len(data), 512):
            await super().pass_on(data[begin : begin + 512], writer, passed)
            await asyncio.sleep(512 / 8192)
        return True


class Split(Toxic):
    """Every byte in a packet of its own."""

    async def pass_on(self, data, writer, _passed):
        for begin in range(len(data)):
            writer.write(data[begin : begin + 1])
            if begin % 8 == 0:
                await asyncio.sleep(0)
        await writer.drain()
        return True


class Cut(Toxic):
    """A FIN after so many bytes, wherever in a frame or in the handshake that is."""

    def __init__(self, seed):
        super().__init__(seed)
        self.bytes = self.rng.choice((self.rng.randrange(200), self.rng.randrange(20_000)))

    async def pass_on(self, data, writer, passed):
        await super().pass_on(data[: max(0, self.bytes - passed)], writer, passed)
        return passed + len(data) <= self.bytes


class Reset(Cut):
    """A RST after so many bytes."""

    async def pass_on(self, data, writer, passed):
        goes_on = await super().pass_on(data, writer, passed)
        if not goes_on:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return goes_on


class Stall(Toxic):
    """Nothing at all for a second, now and then."""

    async def pass_on(self, data, writer, passed):
        if self.rng.random() < 0.05:
            await asyncio.sleep(1)
        return await super().pass_on(data, writer, passed)


class Swallow(Toxic):
    """After so many bytes nothing arrives any more, and nobody is told: a cable that was pulled."""

    def __init__(self, seed):
        super().__init__(seed)
        self.bytes = self.rng.randrange(500, 30_000)

    async def pass_on(self, data, writer, passed):
        if passed + len(data) <= self.bytes:
            return await super().pass_on(data, writer, passed)
        return True


TOXICS = {"none": Toxic, "delay": Delay, "throttle": Throttle, "split": Split, "cut": Cut, "reset": Reset, "stall": Stall, "swallow": Swallow}


class Proxy:
    """A port in front of the gateway's, all of whose connections suffer from one toxic, until it is healed."""

    def __init__(self, target, port, toxic):
        self.target, self.port, self.toxic = target, port, TOXICS[toxic]
        self.ways = set()

    async def live(self, flags):
        server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        while flags["drops"]:
            await asyncio.sleep(0.05)
        self.toxic = Toxic
        for way in self.ways:
            way.cancel()
        await server.serve_forever()

    async def serve(self, reader, writer):
        toxic, seed = self.toxic, random.random()
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        ways = {asyncio.ensure_future(pump(reader, there, toxic(seed))), asyncio.ensure_future(pump(there_reader, writer, toxic(seed + 1)))}
        self.ways |= ways
        # A pulled cable doesn't tell one side that the other has gone.
        await asyncio.wait(ways, return_when=asyncio.ALL_COMPLETED if toxic is Swallow else asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        self.ways -= ways
        for end in (writer, there):
            end.close()


async def pump(reader, writer, toxic):
    passed = 0
    try:
        while data := await reader.read(CHUNK):
            if not await toxic.pass_on(data, writer, passed):
                return
            passed += len(data)
    except OSError:
        return
