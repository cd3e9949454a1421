"""Subscribers that come and go, and publishers, in processes of their own that may be killed at any moment."""

import asyncio
import json
import mmap
import os
import random
import signal
import struct
import time

from errand import FORK
from ledger import payload
from process import PATIENCE
from websocket import connect

ALL_OF_HISTORY = 1_000_000
DROPS = ("close", "cut", "cut mid-frame", "reset", "stall and reset", "leave")


class Books:
    """What each publisher has sent, and what of it was acknowledged; and how often each way to drop was taken."""

    SIZE = 16

    def __init__(self, publishers):
        self.memory = mmap.mmap(-1, self.SIZE * publishers)
        self.publishers = publishers

    def note(self, publisher, sent, acknowledged):
        self.memory[self.SIZE * publisher : self.SIZE * (publisher + 1)] = struct.pack("<QQ", sent, acknowledged)

    def totals(self):
        sums = [struct.unpack_from("<QQ", self.memory, self.SIZE * index) for index in range(self.publishers)]
        return sum(sent for sent, _ in sums), sum(acknowledged for _, acknowledged in sums)


class Subscriber:
    """Keeps topic, epoch and offset of what it takes, and resumes by `since` whatever happens to its session."""

    def __init__(self, index, ledger, wishes, port, restarts=False, strict=True, host="127.0.0.1"):
        self.index, self.ledger, self.port, self.host = index, ledger, port, host
        self.wishes = wishes
        self.restarts, self.strict = restarts, strict
        covered = [topic for topic in ledger.topics if any(matches(wish, topic) for wish in wishes)]
        self.accounts = {topic: ledger.account(index, topic) for topic in covered}
        self.websocket = None
        self.since = {}
        self.left = asyncio.Event()
        self.has_left = False
        self.codes = {}
        self.draining = None

    async def live(self, flags):
        while not flags["ends"]:
            try:
                self.websocket = await connect(self.port, self.hear, host=self.host)
            except (OSError, asyncio.TimeoutError):
                await asyncio.sleep(random.uniform(0.02, 0.1))
                continue
            self.subscribe()
            code = await self.websocket.closed
            self.codes[code] = self.codes.get(code, 0) + 1
            await asyncio.sleep(random.uniform(0, 0.05))

    def subscribe(self):
        self.has_left = False
        self.since = {topic: {"epoch": at.epoch, "offset": at.offset} for topic, at in self.accounts.items() if at.epoch}
        self.websocket.say({"op": "subscribe", "id": 1, "topics": self.wishes, "since": self.since, "last": ALL_OF_HISTORY})

    def hear(self, text):
        event = json.loads(text)
        op = event["op"]
        if op == "message":
            account = self.accounts[event["topic"]]
            if self.has_left:
                account.fault("after unsubscribed")
            account.take(event, self.strict)
        elif op == "subscribed":
            self.hear_subscribed(event["topics"])
        elif op == "unsubscribed":
            self.has_left = True
            self.left.set()
        elif op == "draining":
            self.draining = event["retry_after_ms"]
        elif op != "welcome":
            raise AssertionError(f"subscriber {self.index} was told {event}")

    def hear_subscribed(self, entries):
        told = {entry["topic"]: entry for entry in entries}
        for topic in self.since:
            entry = told.get(topic, {"recovered": False})
            self.accounts[topic].resume(entry["recovered"], entry.get("epoch"), self.restarts)
        for topic, entry in told.items():
            if topic in self.accounts and topic not in self.since:
                self.accounts[topic].begin(entry["epoch"])
        self.ledger.note_seated(self.index, time.monotonic())

    async def notice_silence(self, flags, seconds):
        """The gateway pings; who hears nothing for that long has lost it, whatever the kernel says."""
        while not flags["ends"]:
            await asyncio.sleep(0.2)
            websocket = self.websocket
            if websocket and asyncio.get_running_loop().time() - websocket.heard_at > seconds:
                websocket.transport.abort()

    async def drop_at_times(self, flags, every):
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
            self.left.clear()
            websocket.say({"op": "unsubscribe", "id": 2, "topics": self.wishes})
            gone = asyncio.ensure_future(self.left.wait())
            await asyncio.wait({gone, websocket.closed}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            await asyncio.sleep(random.uniform(0, 0.2))
            if websocket is self.websocket and not websocket.transport.is_closing():
                self.subscribe()


class Publisher:
    """Publishes to topics at random at a steady rate, each message with its number."""

    def __init__(self, index, books, topics, port, per_second, size=64, host="127.0.0.1"):
        self.index, self.books, self.topics, self.port, self.host, self.size = index, books, topics, port, host, size
        self.per_second = per_second
        self.numbers = dict.fromkeys(topics, 0)
        self.sent = self.acknowledged = 0

    async def live(self, flags):
        while not flags["ends"]:
            try:
                websocket = await connect(self.port, self.hear, host=self.host)
            except (OSError, asyncio.TimeoutError):
                await asyncio.sleep(0.05)
                continue
            await self.publish_on(websocket, flags)

    async def publish_on(self, websocket, flags):
        owed, before = 0.0, time.monotonic()
        while not websocket.closed.done():
            await asyncio.sleep(0.01)
            now = time.monotonic()
            owed, before = owed + (now - before) * self.per_second, now
            if not flags["publishes"]:
                owed = 0
            if flags["ends"] and self.sent == self.acknowledged:
                await websocket.close()
                return
            while owed >= 1 and not websocket.closed.done():
                owed -= 1
                topic = random.choice(self.topics)
                self.numbers[topic] += 1
                self.sent += 1
                websocket.say({"op": "publish", "id": self.sent, "topic": topic, "data": payload(self.index, self.numbers[topic], self.size)})
            self.books.note(self.index, self.sent, self.acknowledged)

    def hear(self, text):
        event = json.loads(text)
        if event["op"] == "published":
            self.acknowledged += 1
            self.books.note(self.index, self.sent, self.acknowledged)
        elif event["op"] not in ("welcome", "draining"):
            raise AssertionError(f"publisher {self.index} was told {event}")


class Crew:
    """A process that runs `parts`: functions that make something with a `live(flags)`."""

    def __init__(self, flags, *makes):
        self.flags, self.makes = flags, makes
        self.process = None
        self.start()

    def start(self):
        self.process = FORK.Process(target=run_crew, args=(self.flags, self.makes), daemon=True)
        self.process.start()

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def end(self, seconds=10):
        self.process.join(PATIENCE * seconds)
        if self.process.is_alive():
            self.kill()
            raise AssertionError("a process of subscribers did not end")
        assert self.process.exitcode == 0, f"a process of subscribers ended with {self.process.exitcode}; its words are above"


def replace_some(crews, seconds, pauses):
    """Kills one of the crews and starts it again, with random pauses; returns how often."""
    kills, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(random.uniform(*pauses))
        crew = random.choice(crews)
        crew.kill()
        crew.start()
        kills += 1
    return kills


def run_crew(flags, makes):
    random.seed()
    asyncio.run(live_together(flags, makes))


async def live_together(flags, makes):
    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context.get("exception") or context["message"]))
    lives = [asyncio.ensure_future(life) for make in makes for life in make()]
    while not flags["ends"] and not failed:
        await asyncio.sleep(0.05)
        failed.extend(life.exception() for life in lives if life.done() and not life.cancelled() and life.exception())
    if failed:
        raise SystemExit(f"    {failed[0]!r}")
    await asyncio.sleep(0.2)
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


def crews_of(flags, ledger, wishes, ports, processes, restarts=False, strict=True, drop_every=None, silence=None, host="127.0.0.1", enter=None):
    """The subscribers of `wishes`, dealt to so many processes, and in turn to `ports`; `enter` is called first in each process."""

    def make(indices):
        def lives():
            if enter:
                enter()
            for index in indices:
                subscriber = Subscriber(index, ledger, wishes[index], ports[index % len(ports)], restarts, strict, host)
                yield subscriber.live(flags)
                if drop_every:
                    yield subscriber.drop_at_times(flags, drop_every)
                if silence:
                    yield subscriber.notice_silence(flags, silence)

        return lives

    return [Crew(flags, make(range(process, len(wishes), processes))) for process in range(processes)]


def publishers_of(flags, books, topics, port, per_second, size=64, host="127.0.0.1"):
    def lives():
        for index in range(books.publishers):
            yield Publisher(index, books, topics, port, per_second / books.publishers, size, host).live(flags)

    return Crew(flags, lives)


def mixed_wishes(count, groups, per_group, seed):
    """Topics `room.g0.t0` …, and what each of `count` subscribers asks for: names, a pattern, or both at once."""
    rng = random.Random(seed)
    topics = [f"room.g{group}.t{topic}" for group in range(groups) for topic in range(per_group)]
    wishes = []
    for index in range(count):
        group = rng.randrange(groups)
        kind = index % 4
        if kind < 2:
            wishes.append(rng.sample(topics, per_group))
        elif kind == 2:
            wishes.append([f"room.g{group}.*"])
        else:
            wishes.append([f"room.g{group}.>", f"room.g{group}.t0", f"room.g{rng.randrange(groups)}.*"])
    return topics, wishes


def matches(pattern, topic):
    wanted, tokens = pattern.split("."), topic.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > index
        if index >= len(tokens) or token not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)
