"""A byte proxy with faults: it delays, throttles, splits, stalls, cuts, resets, swallows."""

import asyncio
import random
import socket
import struct

CHUNK = 16 << 10


class Toxic:
    """The fault of one direction; this base class passes all bytes."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    async def forward(self, data, writer, _passed):
        """Forwards `data`; `False` ends the connection."""
        writer.write(data)
        await writer.drain()
        return True


class Delay(Toxic):
    """50 to 100 ms in each direction."""

    async def forward(self, data, writer, passed):
        await asyncio.sleep(self.rng.uniform(0.05, 0.1))
        return await super().forward(data, writer, passed)


class Throttle(Toxic):
    """8 KiB a second."""

    async def forward(self, data, writer, passed):
        for begin in range(0, len(data), 512):
            await super().forward(data[begin : begin + 512], writer, passed)
            await asyncio.sleep(512 / 8192)
        return True


class Split(Toxic):
    """Each byte in a write of its own."""

    async def forward(self, data, writer, _passed):
        for begin in range(len(data)):
            writer.write(data[begin : begin + 1])
            if begin % 8 == 0:
                await asyncio.sleep(0)
        await writer.drain()
        return True


class Cut(Toxic):
    """A FIN after a random number of bytes, amid a frame or the handshake."""

    def __init__(self, seed):
        super().__init__(seed)
        self.bytes = self.rng.choice((self.rng.randrange(200), self.rng.randrange(20_000)))

    async def forward(self, data, writer, passed):
        await super().forward(data[: max(0, self.bytes - passed)], writer, passed)
        return passed + len(data) <= self.bytes


class Reset(Cut):
    """A RST after a random number of bytes."""

    async def forward(self, data, writer, passed):
        continues = await super().forward(data, writer, passed)
        if not continues:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return continues


class Stall(Toxic):
    """A pause of a second before one in twenty reads is forwarded."""

    async def forward(self, data, writer, passed):
        if self.rng.random() < 0.05:
            await asyncio.sleep(1)
        return await super().forward(data, writer, passed)


class Swallow(Toxic):
    """After a random number of bytes no more are forwarded, and neither side gets an end, as after an unplugged cable."""

    def __init__(self, seed):
        super().__init__(seed)
        self.bytes = self.rng.randrange(500, 30_000)

    async def forward(self, data, writer, passed):
        if passed + len(data) <= self.bytes:
            return await super().forward(data, writer, passed)
        return True


TOXICS = {"none": Toxic, "delay": Delay, "throttle": Throttle, "split": Split, "cut": Cut, "reset": Reset, "stall": Stall, "swallow": Swallow}


class Proxy:
    """A port in front of the gateway's whose connections have one kind of fault, until the flag `drops` is cleared."""

    def __init__(self, target, port, toxic):
        self.target, self.port, self.toxic = target, port, TOXICS[toxic]
        self.directions = set()

    async def run(self, flags):
        server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        while flags["drops"]:
            await asyncio.sleep(0.05)
        self.toxic = Toxic
        for direction in self.directions:
            direction.cancel()
        await server.serve_forever()

    async def serve(self, reader, writer):
        toxic, seed = self.toxic, random.random()
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        directions = {asyncio.ensure_future(pump(reader, target_writer, toxic(seed))), asyncio.ensure_future(pump(target_reader, writer, toxic(seed + 1)))}
        self.directions |= directions
        # An unplugged cable does not pass one side's end to the other.
        await asyncio.wait(directions, return_when=asyncio.ALL_COMPLETED if toxic is Swallow else asyncio.FIRST_COMPLETED)
        for direction in directions:
            direction.cancel()
        self.directions -= directions
        for end in (writer, target_writer):
            end.close()


async def pump(reader, writer, toxic):
    passed = 0
    try:
        while data := await reader.read(CHUNK):
            if not await toxic.forward(data, writer, passed):
                return
            passed += len(data)
    except OSError:
        return
