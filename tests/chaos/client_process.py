"""Subscribers that drop and resume, and publishers, in processes of their own that may be killed at any moment."""

import asyncio
import json
import mmap
import os
import random
import signal
import struct
import time

from worker import FORK
from ledger import payload
from process import DEADLINE_FACTOR
from websocket import connect

ALL_OF_HISTORY = 1_000_000
DROPS = ("close", "cut", "cut mid-frame", "reset", "stall and reset", "leave")


class PublishCounts:
    """How many messages each publisher has sent, and how many of them were acknowledged."""

    SIZE = 16

    def __init__(self, publishers):
        self.memory = mmap.mmap(-1, self.SIZE * publishers)
        self.publishers = publishers

    def set(self, publisher, sent, acknowledged):
        self.memory[self.SIZE * publisher : self.SIZE * (publisher + 1)] = struct.pack("<QQ", sent, acknowledged)

    def totals(self):
        sums = [struct.unpack_from("<QQ", self.memory, self.SIZE * index) for index in range(self.publishers)]
        return sum(sent for sent, _ in sums), sum(acknowledged for _, acknowledged in sums)


class Subscriber:
    """Records each topic's epoch and offset in the ledger, and resumes by `since` after each end of its session."""

    def __init__(self, index, ledger, subscriptions, port, restarts=False, strict=True, host="127.0.0.1"):
        self.index, self.ledger, self.port, self.host = index, ledger, port, host
        self.subscriptions = subscriptions
        self.restarts, self.strict = restarts, strict
        covered = [topic for topic in ledger.topics if any(matches(pattern, topic) for pattern in subscriptions)]
        self.accounts = {topic: ledger.account(index, topic) for topic in covered}
        self.websocket = None
        self.since = {}
        self.unsubscribed = asyncio.Event()
        self.is_unsubscribed = False
        self.codes = {}
        self.draining = None

    async def run(self, flags):
        while not flags["ends"]:
            try:
                self.websocket = await connect(self.port, self.receive, host=self.host)
            except (OSError, asyncio.TimeoutError):
                await asyncio.sleep(random.uniform(0.02, 0.1))
                continue
            self.subscribe()
            code = await self.websocket.closed
            self.codes[code] = self.codes.get(code, 0) + 1
            await asyncio.sleep(random.uniform(0, 0.05))

    def subscribe(self):
        self.is_unsubscribed = False
        self.since = {topic: {"epoch": at.epoch, "offset": at.offset} for topic, at in self.accounts.items() if at.epoch}
        self.websocket.send_command({"op": "subscribe", "id": 1, "topics": self.subscriptions, "since": self.since, "last": ALL_OF_HISTORY})

    def receive(self, text):
        event = json.loads(text)
        op = event["op"]
        if op == "message":
            account = self.accounts[event["topic"]]
            if self.is_unsubscribed:
                account.fault("after unsubscribed")
            account.receive(event, self.strict)
        elif op == "subscribed":
            self.receive_subscribed(event["topics"])
        elif op == "unsubscribed":
            self.is_unsubscribed = True
            self.unsubscribed.set()
        elif op == "draining":
            self.draining = event["retry_after_ms"]
        elif op != "welcome":
            raise AssertionError(f"subscriber {self.index} got {event}")

    def receive_subscribed(self, entries):
        by_topic = {entry["topic"]: entry for entry in entries}
        for topic in self.since:
            entry = by_topic.get(topic, {"recovered": False})
            self.accounts[topic].resume(entry["recovered"], entry.get("epoch"), self.restarts)
        for topic, entry in by_topic.items():
            if topic in self.accounts and topic not in self.since:
                self.accounts[topic].begin(entry["epoch"])
        self.ledger.record_subscribed(self.index, time.monotonic())

    async def detect_silence(self, flags, seconds):
        """Drops a connection that has been silent for so long: the gateway pings, so the connection must be dead."""
        while not flags["ends"]:
            await asyncio.sleep(0.2)
            websocket = self.websocket
            if websocket and asyncio.get_running_loop().time() - websocket.received_at > seconds:
                websocket.transport.abort()

    async def drop_randomly(self, flags, every):
        while not flags["ends"]:
            await asyncio.sleep(random.expovariate(1 / every))
            if flags["drops"] and self.websocket and not self.websocket.transport.is_closing():
                await self.drop(random.choice(DROPS))

    async def drop(self, how):
        websocket = self.websocket
        if how == "close":
            websocket.send_frame(8, struct.pack("!H", 1000))
        elif how == "cut":
            websocket.cut()
        elif how == "cut mid-frame":
            websocket.cut_mid_frame(random.randrange(60))
        elif how == "reset":
            websocket.reset()
        elif how == "stall and reset":
            websocket.pause()
            await asyncio.sleep(random.uniform(0.1, 1))
            websocket.reset()
        else:
            self.unsubscribed.clear()
            websocket.send_command({"op": "unsubscribe", "id": 2, "topics": self.subscriptions})
            gone = asyncio.ensure_future(self.unsubscribed.wait())
            await asyncio.wait({gone, websocket.closed}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            await asyncio.sleep(random.uniform(0, 0.2))
            if websocket is self.websocket and not websocket.transport.is_closing():
                self.subscribe()


class Publisher:
    """Publishes to topics at random at a steady rate, each message with its number."""

    def __init__(self, index, counts, topics, port, per_second, size=64, host="127.0.0.1"):
        self.index, self.counts, self.topics, self.port, self.host, self.size = index, counts, topics, port, host, size
        self.per_second = per_second
        self.numbers = dict.fromkeys(topics, 0)
        self.sent = self.acknowledged = 0

    async def run(self, flags):
        while not flags["ends"]:
            try:
                websocket = await connect(self.port, self.receive, host=self.host)
            except (OSError, asyncio.TimeoutError):
                await asyncio.sleep(0.05)
                continue
            await self.publish_on(websocket, flags)

    async def publish_on(self, websocket, flags):
        due, before = 0.0, time.monotonic()
        while not websocket.closed.done():
            await asyncio.sleep(0.01)
            now = time.monotonic()
            due, before = due + (now - before) * self.per_second, now
            if not flags["publishes"]:
                due = 0
            if flags["ends"] and self.sent == self.acknowledged:
                await websocket.close()
                return
            while due >= 1 and not websocket.closed.done():
                due -= 1
                topic = random.choice(self.topics)
                self.numbers[topic] += 1
                self.sent += 1
                websocket.send_command({"op": "publish", "id": self.sent, "topic": topic, "data": payload(self.index, self.numbers[topic], self.size)})
            self.counts.set(self.index, self.sent, self.acknowledged)

    def receive(self, text):
        event = json.loads(text)
        if event["op"] == "published":
            self.acknowledged += 1
            self.counts.set(self.index, self.sent, self.acknowledged)
        elif event["op"] not in ("welcome", "draining"):
            raise AssertionError(f"publisher {self.index} got {event}")


class ClientProcess:
    """A process that runs the coroutines that `factories` make, until the flag `ends`."""

    def __init__(self, flags, *factories):
        self.flags, self.factories = flags, factories
        self.process = None
        self.start()

    def start(self):
        self.process = FORK.Process(target=run_client_process, args=(self.flags, self.factories), daemon=True)
        self.process.start()

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def end(self, seconds=10):
        self.process.join(DEADLINE_FACTOR * seconds)
        if self.process.is_alive():
            self.kill()
            raise AssertionError("a process of subscribers did not end")
        assert self.process.exitcode == 0, f"a process of subscribers ended with {self.process.exitcode}; its error is above"


def replace_some(clients, seconds, pauses):
    """Kills and restarts a random client after each random pause; returns the number of kills."""
    kills, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(random.uniform(*pauses))
        client = random.choice(clients)
        client.kill()
        client.start()
        kills += 1
    return kills


def run_client_process(flags, factories):
    random.seed()
    asyncio.run(run_together(flags, factories))


async def run_together(flags, factories):
    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context.get("exception") or context["message"]))
    tasks = [asyncio.ensure_future(task) for make in factories for task in make()]
    while not flags["ends"] and not failed:
        await asyncio.sleep(0.05)
        failed.extend(task.exception() for task in tasks if task.done() and not task.cancelled() and task.exception())
    if failed:
        raise SystemExit(f"    {failed[0]!r}")
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def subscribers_of(flags, ledger, subscriptions, ports, processes, restarts=False, strict=True, drop_every=None, silence=None, host="127.0.0.1", enter=None):
    """One subscriber for each of `subscriptions`, spread over processes and `ports`; each process calls `enter` first."""

    def make(indices):
        def tasks():
            if enter:
                enter()
            for index in indices:
                subscriber = Subscriber(index, ledger, subscriptions[index], ports[index % len(ports)], restarts, strict, host)
                yield subscriber.run(flags)
                if drop_every:
                    yield subscriber.drop_randomly(flags, drop_every)
                if silence:
                    yield subscriber.detect_silence(flags, silence)

        return tasks

    return [ClientProcess(flags, make(range(process, len(subscriptions), processes))) for process in range(processes)]


def publishers_of(flags, counts, topics, port, per_second, size=64, host="127.0.0.1"):
    def tasks():
        for index in range(counts.publishers):
            yield Publisher(index, counts, topics, port, per_second / counts.publishers, size, host).run(flags)

    return ClientProcess(flags, tasks)


def mixed_subscriptions(count, groups, per_group, seed):
    """Topics `room.g0.t0` …, and the subscriptions of each of `count` subscribers: names, a pattern, or both."""
    rng = random.Random(seed)
    topics = [f"room.g{group}.t{topic}" for group in range(groups) for topic in range(per_group)]
    subscriptions = []
    for index in range(count):
        group = rng.randrange(groups)
        kind = index % 4
        if kind < 2:
            subscriptions.append(rng.sample(topics, per_group))
        elif kind == 2:
            subscriptions.append([f"room.g{group}.*"])
        else:
            subscriptions.append([f"room.g{group}.>", f"room.g{group}.t0", f"room.g{rng.randrange(groups)}.*"])
    return topics, subscriptions


def matches(pattern, topic):
    wanted, tokens = pattern.split("."), topic.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > index
        if index >= len(tokens) or token not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)
