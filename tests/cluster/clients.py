"""The clients of a storm: subscribers that move between gateways with `since`, and publishers of three kinds."""

import asyncio
import itertools
import json

import nats
import websocket

FILLING = "x" * 64


class Subscriber:
    """Subscribes to `topics`, by their names or by `pattern`. `pinned` is the index of its gateway if it never moves."""

    def __init__(self, name, gateways, topics, checker, rng, pattern=None, pinned=None):
        self.name, self.gateways, self.topics, self.checker, self.rng = name, gateways, topics, checker, rng
        self.targets, self.pinned = [pattern] if pattern else topics, pinned
        self.runs = {}  # topic → Run
        self.expected = set()  # contents that it must still receive
        self.moves, self.answered = True, False

    async def run(self):
        while True:
            try:
                await self.visit(self.gateways[self.rng.randrange(len(self.gateways)) if self.pinned is None else self.pinned])
            except (OSError, asyncio.TimeoutError):
                pass
            await asyncio.sleep(self.rng.uniform(0, 0.5))

    async def visit(self, gateway):
        self.resumed = {topic: {"epoch": run.epoch, "offset": run.last} for topic, run in self.runs.items()}
        socket = await websocket.connect(gateway.port, self.receive)
        try:
            socket.send_command({"op": "subscribe", "id": 1, "topics": self.targets, "since": self.resumed, "last": 0})
            stay = self.rng.uniform(0.5, 6)
            done, _ = await asyncio.wait({socket.closed}, timeout=stay)
            while not done and (self.pinned is not None or not self.moves):
                done, _ = await asyncio.wait({socket.closed}, timeout=0.5)
        finally:
            self.answered = False
            if self.rng.random() < 0.5:
                socket.reset()
            else:
                socket.transport.close()
            socket.on_text = lambda _text: None  # late events do not belong to the next visit

    def receive(self, text):
        event = json.loads(text)
        op = event["op"]
        if op == "message":
            self.receive_message(event["topic"], event)
        elif op == "gap":
            self.receive_gap(event["topic"], event)
        elif op == "subscribed":
            self.receive_subscribed({entry["topic"]: entry for entry in event["topics"]})
        elif op not in ("welcome", "draining"):
            self.checker.fault("an error", f"{self.name} got {event}")

    def receive_subscribed(self, entries):
        self.answered = True
        for topic in self.resumed.keys() | (entries.keys() & set(self.topics)):
            entry, run = entries.get(topic, {}), self.runs.get(topic)
            if entry.get("recovered"):
                self.checker.counts["recovered"] += 1
                if entry["epoch"] != run.epoch:
                    self.checker.fault("recovered in another epoch", f"{self.name} on {topic}: {entry}, it was in {run.epoch}")
                continue
            self.checker.counts["not recovered"] += topic in self.resumed
            if "offset" in entry:
                self.runs[topic] = self.checker.begin(self.name, topic, entry["epoch"], entry["offset"])
            else:
                self.runs.pop(topic, None)

    def receive_gap(self, topic, gap):
        self.checker.counts["gaps"] += 1
        run, epoch = self.runs.get(topic), gap.get("epoch")
        if gap["to"] < gap["from"]:
            self.checker.fault("a gap without bounds", f"{self.name}: {gap}")
        if run and epoch in (None, run.epoch):
            if gap["from"] <= run.last:
                self.checker.fault("a gap over received messages", f"{self.name} at {run.last}: {gap}")
            run.end = gap["from"] - 1
        if run or epoch:
            self.runs[topic] = self.checker.begin(self.name, topic, epoch or run.epoch, gap["to"])

    def receive_message(self, topic, message):
        epoch, offset, content = message["epoch"], message["offset"], message["data"]["m"]
        run = self.runs.get(topic)
        if run is None:
            if topic in self.topics and self.targets is self.topics:
                self.checker.fault("a message before its answer", f"{self.name}: {message}")
            run = self.runs[topic] = self.checker.begin(self.name, topic, epoch, offset - 1)
        if not self.answered:
            self.checker.fault("a message before its answer", f"{self.name}: {message}")
        if epoch != run.epoch:
            self.checker.fault("another epoch without a gap", f"{self.name} was in {run.epoch}: {message}")
            run = self.runs[topic] = self.checker.begin(self.name, topic, epoch, offset - 1)
        if offset <= run.last:
            self.checker.fault("twice or out of order", f"{self.name} had {run.last}: {message}")
        if message.get("prev", 0) > run.last:
            self.checker.fault("missing by prev", f"{self.name} had {run.last}: {message}")
        run.messages.append((offset, content))
        self.expected.discard(content)
        self.checker.record(self.name, epoch, offset, topic, content)


class Publisher:
    """Publishes `rate` messages a second, each with a content of its own."""

    def __init__(self, name, topics, checker, rng, rate):
        self.name, self.topics, self.checker, self.rng, self.rate = name, topics, checker, rng, rate
        self.numbers, self.sent, self.refused = itertools.count(1), 0, 0
        self.publishes = True

    def next_message(self):
        """A random topic, the first ones more often, and a content."""
        self.sent += 1
        topic = self.topics[min(int(self.rng.expovariate(4.5 / len(self.topics))), len(self.topics) - 1)]
        return topic, f"{self.name}-{next(self.numbers)}"

    async def run(self):
        while True:
            try:
                await self.visit()
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.1)

    async def send_at_rate(self, send, is_usable):
        loop = asyncio.get_running_loop()
        due, before = 0.0, loop.time()
        while is_usable():
            await asyncio.sleep(0.01)
            now = loop.time()
            due, before = min(due + (now - before) * self.rate, self.rate), now
            while due >= 1 and is_usable():
                due -= 1
                if self.publishes:
                    send(*self.next_message())


class SessionPublisher(Publisher):
    """Pipelines on a session; after each end it chooses a gateway at random."""

    def __init__(self, gateways, *arguments):
        super().__init__(*arguments)
        self.gateways = gateways

    async def visit(self):
        waiting, ids = {}, itertools.count(1)

        def send(topic, content):
            number = next(ids)
            waiting[number] = topic, content
            socket.send_command({"op": "publish", "id": number, "topic": topic, "data": {"m": content, "x": FILLING}})

        def receive(text):
            event = json.loads(text)
            if event["op"] == "published":
                topic, content = waiting.pop(event["id"])
                self.checker.acknowledge(None, event["offset"], topic, content)
            elif event["op"] == "error":
                waiting.pop(event["id"], None)
                self.refused += 1
                if event["code"] != "unavailable":
                    self.checker.fault("an error", f"{self.name} got {event}")

        socket = await websocket.connect(self.rng.choice(self.gateways).port, receive)
        try:
            await self.send_at_rate(send, lambda: not socket.closed.done())
        finally:
            socket.transport.abort()


class HttpPublisher(Publisher):
    """Sends one request after the other on a keep-alive connection; the response has the epoch."""

    def __init__(self, gateways, *arguments):
        super().__init__(*arguments)
        self.gateways = gateways

    async def visit(self):
        port = self.rng.choice(self.gateways).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                await asyncio.sleep(1 / self.rate)
                if self.publishes:
                    await self.post(reader, writer, port, *self.next_message())
        finally:
            writer.close()

    async def post(self, reader, writer, port, topic, content):
        body = json.dumps({"m": content, "x": FILLING}).encode()
        writer.write(f"POST /v1/topics/{topic} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode().lower()
        answer = json.loads(await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0])))
        if " 200 " in head.split("\r\n")[0]:
            self.checker.acknowledge(answer["epoch"], answer["offset"], topic, content)
            return True
        self.refused += 1
        if answer["code"] != "unavailable":
            self.checker.fault("an error", f"{self.name} got {answer}")
        return False


class ForeignPublisher(Publisher):
    """A NATS client that publishes directly to the subjects."""

    def __init__(self, ports, *arguments):
        super().__init__(*arguments)
        self.ports = ports

    async def visit(self):
        client = await nats.Client.open(self.rng.choice(self.ports))
        inbox, waiting = f"{client.inbox}.ack", {}
        answers, ids = client.subscribe(f"{inbox}.*"), itertools.count(1)

        def send(topic, content):
            number = str(next(ids))
            waiting[number] = topic, content
            client.publish(topic, json.dumps({"m": content, "x": FILLING}).encode(), f"{inbox}.{number}")

        def receive():
            while not answers.empty():
                subject, _head, payload, _reply = answers.get_nowait()
                topic, content = waiting[subject.rpartition(".")[2]]  # kept: after an election a second answer may be the success
                answer = json.loads(payload or b"{}")
                if "seq" in answer and "error" not in answer:
                    self.checker.acknowledge(None, answer["seq"], topic, content)
                else:
                    self.refused += 1
            return not client.reading.done()

        try:
            await self.send_at_rate(send, receive)
        finally:
            client.close()
