"""The faults of a storm and their times, drawn from a seed."""

import asyncio
import random
import signal

import nats


class Storm:
    """Causes faults and repairs each after a while. At most one NATS server is down at a time, except in `kill_all`."""

    def __init__(self, seed, servers, gateways, links, stream):
        self.rng = random.Random(seed)
        self.servers, self.gateways, self.links, self.stream = servers, gateways, links, stream
        self.one_server, self.events, self.repairs = asyncio.Lock(), [], []
        self.busy = set()  # indices of gateways with a fault
        self.deck = []

    async def run(self, seconds):
        loop = asyncio.get_running_loop()
        self.started = loop.time()
        while loop.time() < self.started + seconds:
            await asyncio.sleep(self.rng.uniform(1, 4))
            if not self.deck:
                self.deck = [self.kill_server, self.kill_leader, self.freeze_server, self.kill_all, self.step_down]
                self.deck += [self.kill_gateway, self.kill_gateway, self.cut_off, self.stall_links]
                self.rng.shuffle(self.deck)
            repair = asyncio.ensure_future(self.deck.pop()(random.Random(self.rng.random())))
            self.repairs.append(repair)
            await asyncio.wait({repair}, timeout=self.rng.uniform(0, 6))
        await asyncio.gather(*self.repairs)

    def log(self, text):
        self.events.append(f"{asyncio.get_running_loop().time() - self.started:.1f} s {text}")

    @property
    def ports(self):
        return [server.port for server in self.servers.all]

    async def kill_server(self, rng):
        async with self.one_server:
            await self.kill_and_start(rng, rng.choice(self.servers.all))

    async def kill_leader(self, rng):
        async with self.one_server:
            info = await nats.ask_any(self.ports, f"STREAM.INFO.{self.stream}")
            leader = info.get("cluster", {}).get("leader")
            await self.kill_and_start(rng, next(server for server in self.servers.all if server.name == leader), ", the leader")

    async def kill_and_start(self, rng, server, role=""):
        self.log(f"kill -9 {server.name}{role}")
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(rng.uniform(1, 7))
        server.start()
        await asyncio.to_thread(server.wait, 60)
        self.log(f"{server.name} is up")

    async def freeze_server(self, rng):
        """Stops a server's process and continues it: a former leader then does not know of the new one."""
        async with self.one_server:
            server = rng.choice(self.servers.all)
            self.log(f"{server.name} is frozen")
            server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(rng.uniform(1, 8))
            server.process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(server.wait, 60)
            self.log(f"{server.name} continues")

    async def kill_all(self, rng):
        async with self.one_server:
            self.log("kill -9 all servers")
            for server in self.servers.all:
                await asyncio.to_thread(server.kill)
            await asyncio.sleep(rng.uniform(0, 3))
            for server in self.servers.all:
                server.start()
            for server in self.servers.all:
                await asyncio.to_thread(server.wait, 60)
            self.log("all servers are up")

    async def step_down(self, _rng):
        self.log("step-down")
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

    async def stall_links(self, rng):
        await self.with_gateway(rng, "stalled links of gateway", self.gateway_stalled)

    async def with_gateway(self, rng, description, fault):
        index = self.free_gateway(rng)
        if index is None:
            return
        self.busy.add(index)
        self.log(f"{description} {index}")
        try:
            await fault(rng, index)
        finally:
            self.busy.discard(index)

    async def gateway_killed(self, rng, index):
        await asyncio.to_thread(self.gateways[index].kill)
        await asyncio.sleep(rng.uniform(0, 2))
        await asyncio.to_thread(self.gateways[index].start)

    async def gateway_cut_off(self, rng, index):
        self.links[index].cut()
        await asyncio.sleep(rng.uniform(0.5, 8))
        self.links[index].restore()

    async def gateway_stalled(self, rng, index):
        self.links[index].stall()
        await asyncio.sleep(rng.uniform(0.5, 8))
        self.links[index].restore()
