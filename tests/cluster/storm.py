"""What breaks in a storm, and when: drawn from a seed."""

import asyncio
import random
import signal

import nats


class Storm:
    """Breaks things, each for a while. At most one NATS server is away at a time, but where all of them die."""

    def __init__(self, seed, servers, gateways, wires, stream):
        self.rng = random.Random(seed)
        self.servers, self.gateways, self.wires, self.stream = servers, gateways, wires, stream
        self.one_server, self.events, self.repairs = asyncio.Lock(), [], []
        self.busy = set()  # gateways that something is being done to
        self.deck = []

    async def rage(self, seconds):
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        while loop.time() < self.began + seconds:
            await asyncio.sleep(self.rng.uniform(1, 4))
            if not self.deck:
                self.deck = [self.kill_server, self.kill_leader, self.freeze_server, self.kill_all, self.step_down]
                self.deck += [self.kill_gateway, self.kill_gateway, self.cut_off, self.go_dead]
                self.rng.shuffle(self.deck)
            repair = asyncio.ensure_future(self.deck.pop()(random.Random(self.rng.random())))
            self.repairs.append(repair)
            await asyncio.wait({repair}, timeout=self.rng.uniform(0, 6))
        await asyncio.gather(*self.repairs)

    def tell(self, words):
        self.events.append(f"{asyncio.get_running_loop().time() - self.began:.1f} s {words}")

    @property
    def ports(self):
        return [server.port for server in self.servers.all]

    async def kill_server(self, rng):
        async with self.one_server:
            await self.kill_and_start(rng, rng.choice(self.servers.all), "")

    async def kill_leader(self, rng):
        async with self.one_server:
            info = await nats.ask_any(self.ports, f"STREAM.INFO.{self.stream}")
            leader = info.get("cluster", {}).get("leader")
            await self.kill_and_start(rng, next(server for server in self.servers.all if server.name == leader), ", the leader")

    async def kill_and_start(self, rng, server, what):
        self.tell(f"kill -9 {server.name}{what}")
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(rng.uniform(1, 7))
        server.start()
        await asyncio.to_thread(server.wait, 60)
        self.tell(f"{server.name} is back")

    async def freeze_server(self, rng):
        """As a machine that swaps, or moves to another host: a leader wakes up and does not know that there is a new one."""
        async with self.one_server:
            server = rng.choice(self.servers.all)
            self.tell(f"{server.name} freezes")
            server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(rng.uniform(1, 8))
            server.process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(server.wait, 60)
            self.tell(f"{server.name} goes on")

    async def kill_all(self, rng):
        async with self.one_server:
            self.tell("kill -9 all servers")
            for server in self.servers.all:
                await asyncio.to_thread(server.kill)
            await asyncio.sleep(rng.uniform(0, 3))
            for server in self.servers.all:
                server.start()
            for server in self.servers.all:
                await asyncio.to_thread(server.wait, 60)
            self.tell("all are back")

    async def step_down(self, _rng):
        self.tell("step-down")
        try:
            await nats.ask_any(self.ports, f"STREAM.LEADER.STEPDOWN.{self.stream}", seconds=5)
        except AssertionError:
            pass  # there is no leader now

    def free_gateway(self, rng):
        free = [index for index in range(len(self.gateways)) if index not in self.busy]
        return rng.choice(free) if free else None

    async def kill_gateway(self, rng):
        await self.with_gateway(rng, "kill -9 gateway", self.gateway_killed)

    async def cut_off(self, rng):
        await self.with_gateway(rng, "cut off gateway", self.gateway_cut_off)

    async def go_dead(self, rng):
        await self.with_gateway(rng, "dead wires of gateway", self.gateway_in_silence)

    async def with_gateway(self, rng, words, act):
        index = self.free_gateway(rng)
        if index is None:
            return
        self.busy.add(index)
        self.tell(f"{words} {index}")
        try:
            await act(rng, index)
        finally:
            self.busy.discard(index)

    async def gateway_killed(self, rng, index):
        await asyncio.to_thread(self.gateways[index].kill)
        await asyncio.sleep(rng.uniform(0, 2))
        await asyncio.to_thread(self.gateways[index].start)

    async def gateway_cut_off(self, rng, index):
        self.wires[index].cut()
        await asyncio.sleep(rng.uniform(0.5, 8))
        self.wires[index].mend()

    async def gateway_in_silence(self, rng, index):
        self.wires[index].go_dead()
        await asyncio.sleep(rng.uniform(0.5, 8))
        self.wires[index].mend()
