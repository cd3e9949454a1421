#!/usr/bin/env python3
"""Deflate with history and real clients: each reads a mix of messages, with pauses, and every text is compared.

    tests/deflate/run [NAME…]

The gateway is $BELFRY, or target/release/belfry. NAME is a client: websockets, aiohttp, built-in, ws, chromium, page; or dialects.
"""

import asyncio
import json
import pathlib
import re
import sys
import time
import traceback

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "harness")]
sys.dont_write_bytecode = True

from pausing_proxy import PausingProxy
from market import QUOTES, Market
from process import DEADLINE_FACTOR, Process
from websocket import connect

# Quotes conflate, books drop the oldest, and the other topics replay from history.
CONFIG = """
auth.anonymous = { subscribe = [">"], publish = [">"] }
limits = { commands_per_second = 1000000, commands_burst = 1000000, outbox_bytes = 100000, message_bytes = 1000000 }
topics = [
  { match = "quotes.>", history = 100, last = 1, deflate = "history", on_slow = "conflate" },
  { match = "ticks.>", history = 100000, deflate = "history", on_slow = "replay" },
  { match = "books.>", deflate = "history", on_slow = "drop_oldest" },
  { match = "chat.>", history = 100000, deflate = "history", on_slow = "replay" },
  { match = "large.>", history = 100000, deflate = "history", on_slow = "replay" },
  { match = "news.>", history = 100000, deflate = "alone", on_slow = "replay" },
  { match = "off.>", history = 100000, deflate = "off", on_slow = "replay" },
  { match = "end.>", history = 10 },
]
"""
NEVER_MISSED = ("ticks.USDJPY", "chat.房間", "large.all", "news.all", "off.all")
MESSAGES = 12_000
BATCH = 16
# Messages between two replies, which are compressed for this client alone.
REPLY_EVERY = 400
# The numbers of published messages at which the client's input pauses.
PAUSES = (3_200, 6_000, 9_200)
# For the page, which reads 10 messages a second of each symbol.
SYMBOLS = 40
PAGE_MESSAGES = 1_500
# The number of messages for each of the other dialects, of all topics.
DIALECT_MESSAGES = 3_000
# The bytes of a quote's frame divided by the bytes of its text.
QUOTE_RATIO_MAX = 0.33
LINE_BYTES_MAX = 4 << 20
MESSAGE = re.compile(r'\{"op":"message","topic":"([^"]+)","epoch":"([^"]+)","offset":(\d+),("replay":true,)?"data":')
PYTHON, NODE = [sys.executable, HERE / "python_client.py"], ["node", HERE / "client.mjs"]
CLIENTS = {
    "websockets": [*PYTHON, "websockets"],
    "aiohttp": [*PYTHON, "aiohttp"],
    "built-in": [*NODE, "built-in"],
    "ws": [*NODE, "ws"],
    "chromium": [*NODE, "chromium"],
}


class Client:
    """A client in a process of its own; `texts` has each text that it read."""

    def __init__(self, process):
        self.process = process
        self.texts = []
        self.has_read = asyncio.Event()
        self.reading = asyncio.create_task(self.read())

    @classmethod
    async def start(cls, command, url):
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, url, stdin=pipe, stdout=pipe, limit=LINE_BYTES_MAX))

    async def read(self):
        while line := await self.process.stdout.readline():
            self.texts.append(line.decode().removesuffix("\n"))
            self.has_read.set()

    def send_command(self, command):
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def until(self, what, fact, seconds=20):
        """Waits until `fact()` is true."""
        deadline = time.monotonic() + DEADLINE_FACTOR * seconds
        while not fact():
            self.has_read.clear()
            assert not self.reading.done(), f"the client ended with {await self.process.wait()} before {what}"
            assert time.monotonic() < deadline, f"not within {DEADLINE_FACTOR * seconds} s: {what}; {len(self.texts)} texts"
            try:
                await asyncio.wait_for(self.has_read.wait(), 1)
            except TimeoutError:
                pass

    async def end(self):
        if self.process.returncode is None:
            self.process.stdin.close()
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
        await self.process.wait()
        self.reading.cancel()


class Stream:
    """Publishes messages, and compares the texts of a client with them."""

    def __init__(self, gateway):
        self.gateway, self.market = gateway, Market()
        self.published = {}
        self.count = 0

    async def publish(self, messages):
        for _ in range(0, messages, BATCH):
            await self.publish_batch([self.market.next() for _ in range(BATCH)])

    async def publish_batch(self, batch):
        body = "".join(f'{{"topic":"{topic}","data":{data}}}\n' for topic, data in batch).encode()
        status, answer = await asyncio.to_thread(self.gateway.request, "POST", "/v1/publish", body)
        assert status == 200 and not json.loads(answer)["errors"], f"a batch was answered {status}: {answer[:300]!r}"
        self.count += len(batch)
        for topic, data in batch:
            self.published.setdefault(topic, []).append(data)

    def check(self, texts):
        """Every text is a reply or a published message, and each missing message was conflated or is in a gap."""
        newest, replayed, gaps = {}, {}, {}
        for text in texts:
            parts = MESSAGE.match(text)
            if not parts:
                event = json.loads(text)
                assert event["op"] in ("welcome", "subscribed", "unsubscribed", "history", "gap"), f"an unexpected {text[:300]}"
                if event["op"] == "gap":
                    gaps.setdefault(event["topic"], []).append((event["from"], event["to"]))
                continue
            topic, _, offset, replay = parts.groups()
            data = self.published[topic][int(offset) - 1]
            assert text == f"{parts[0]}{data}}}", f"{topic} {offset} differs from the published message: {text[:300]}"
            known, offset = newest.get(topic), int(offset)
            assert known is None or offset > known, f"{topic} {offset} has_read after {known}"
            if known is not None and offset != known + 1:
                missed = (known + 1, offset - 1)
                is_expected = missed in gaps.get(topic, ()) if topic == "books.AAPL" else topic in QUOTES
                assert is_expected or topic in replayed, f"{topic} has {offset} after {known}"
            newest[topic] = offset
        for topic in NEVER_MISSED:
            assert newest[topic] == len(self.published[topic]), f"{topic} ends with {newest[topic]} of {len(self.published[topic])}"
        return len(texts)


class Frames:
    """A client's frames, each with its text."""

    def __init__(self, frames, texts):
        assert len(frames) == len(texts), f"{len(texts)} texts of {len(frames)} frames"
        self.pairs = list(zip(frames, texts))

    def compressed_messages(self):
        return sum(is_compressed for (is_compressed, _), text in self.pairs if text.startswith('{"op":"message"'))

    def compressed_replies(self):
        return sum(is_compressed for (is_compressed, _), text in self.pairs if not text.startswith('{"op":"message"'))

    def ratio(self, topic):
        """The bytes of a topic's frames divided by the bytes of their texts."""
        sizes = [(size, len(text.encode())) for (_, size), text in self.pairs if text.startswith(f'{{"op":"message","topic":"{topic}')]
        return sum(size for size, _ in sizes) / sum(size for _, size in sizes)


async def client_reads_the_mix(name):
    with Process(CONFIG) as gateway:
        stream = Stream(gateway)
        async with PausingProxy(gateway.port) as proxy:
            client = await Client.start(CLIENTS[name], f"ws://127.0.0.1:{proxy.port}/ws")
            try:
                await client.until("the welcome", lambda: client.texts)
                # The window already has the welcome, which is compressed alone.
                client.send_command({"op": "subscribe", "id": 1, "topics": ["quotes.>", *NEVER_MISSED, "end.all"], "last": 0})
                await client.until("an answer", lambda: '"op":"subscribed"' in client.texts[-1])
                await publish_mix(stream, gateway, proxy, client)
                return await check_client(stream, gateway, proxy, client)
            finally:
                await client.end()


async def publish_mix(stream, gateway, proxy, client):
    for published in range(0, MESSAGES, REPLY_EVERY):
        if published == 2_000:
            client.send_command({"op": "subscribe", "topics": ["books.AAPL"]})
        if published in PAUSES:
            proxy.pause()
            while not await asyncio.to_thread(gateway.total, "outbox_bytes"):
                await stream.publish(BATCH)
        await stream.publish(REPLY_EVERY)
        proxy.resume()
        client.send_command({"op": "history", "id": published, "topic": "ticks.USDJPY", "limit": 4 + published % 7})
        await client.until("a reply", lambda: any(f'"op":"history","id":{published},' in text for text in client.texts[-3_000:]))
    await stream.publish_batch([("end.all", "1")])
    await client.until("the end", lambda: '"topic":"end.all"' in "".join(client.texts[-50:]))
    await client.until("all texts", lambda: len(client.texts) == len(proxy.frames))


async def check_client(stream, gateway, proxy, client):
    assert proxy.answer.startswith("permessage-deflate") and "server_no_context_takeover" not in proxy.answer, proxy.answer
    stream.check(client.texts)
    frames = Frames(proxy.frames, client.texts)
    figures = await asyncio.to_thread(gateway.metrics)

    def counted(name, **labels):
        return int(figures.get((f"deflate_{name}_total", tuple(labels.items())), 0))

    history, alone = counted("messages", how="history"), counted("messages", how="alone")
    assert history + alone == frames.compressed_messages(), f"{history} and {alone} of {frames.compressed_messages()}"
    assert history > len(client.texts) / 2, f"{history} of {len(client.texts)} messages refer to an earlier one"
    why = {why: counted("no_reference", why=why) for why in ("first", "missed", "far", "cleared")}
    assert why["first"] and why["cleared"], f"no pause had an effect: {why}"
    assert frames.compressed_replies() >= MESSAGES // REPLY_EVERY - 1, f"{frames.compressed_replies()} replies were compressed"
    ratio = frames.ratio("quotes.")
    assert ratio < QUOTE_RATIO_MAX, f"quotes take {ratio:.2f} of their bytes"
    return f"{stream.count:,} published, {len(client.texts):,} read, {history:,} with a reference; {why}; quotes {ratio:.3f}, books {frames.ratio('books.'):.3f}"


async def other_dialects():
    """Raw sessions and Centrifugo's protocol in JSON, with quotes of one topic."""
    topic, figures = QUOTES[0], []
    connect_and_subscribe = [{"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": topic}}]
    for path, commands, before in ((f"/raw/{topic}", [], 0), ("/connection/websocket", connect_and_subscribe, 2)):
        with Process(CONFIG) as gateway:
            stream = Stream(gateway)
            async with PausingProxy(gateway.port) as proxy:
                client = await Client.start(CLIENTS["websockets"], f"ws://127.0.0.1:{proxy.port}{path}")
                try:
                    for command in commands:
                        client.send_command(command)
                    await client.until("answers", lambda: len(client.texts) >= before and proxy.answer)
                    quotes = [data for name, data in (stream.market.next() for _ in range(DIALECT_MESSAGES)) if name == topic]
                    for data in quotes:
                        await stream.publish_batch([(topic, data)])
                    await client.until("quotes", lambda: len(client.texts) >= before + len(quotes))
                finally:
                    await client.end()
                for text, data in zip(client.texts[before:], quotes, strict=True):
                    is_equal = text == data if not commands else f'"data":{data}' in text and json.loads(text)["push"]["channel"] == topic
                    assert is_equal, f"{text} is not {data}"
                history = await asyncio.to_thread(gateway.total, "deflate_messages_total", how="history")
                assert history >= len(quotes) - 2, f"{history} of {len(quotes)} quotes refer to an earlier one"
                ratio = sum(size for _, size in proxy.frames[before:]) / sum(map(len, client.texts[before:]))
                assert ratio < QUOTE_RATIO_MAX, f"quotes take {ratio:.2f} of their bytes"
                figures.append(f"{path.split('/')[1]}: {history} of {len(quotes)} with a reference, {ratio:.3f}")
    return "; ".join(figures)


async def page_reads_quotes():
    """The built-in page: each quote that its socket reads equals one that a session without compression reads."""
    symbols = json.dumps([f"S{number:02}" for number in range(SYMBOLS)])
    with Process(settings=['feed.simulator.interval="20ms"', f"feed.simulator.symbols={symbols}"]) as gateway:
        plain, newest = set(), {}

        def receive(text):
            if parts := MESSAGE.match(text := text.decode()):
                plain.add(text)
                newest[parts[1]] = int(parts[3])

        other = await connect(gateway.port, receive)
        other.send_command({"op": "subscribe", "topics": ["quotes.>"]})
        client = await Client.start([*NODE, "page"], f"http://127.0.0.1:{gateway.port}/")
        try:
            await client.until("quotes", lambda: len(client.texts) > PAGE_MESSAGES)
            read = [(text, parts) for text in client.texts if (parts := MESSAGE.match(text)) and parts[1].startswith("quotes.") and not parts[4]]
            while any(newest[parts[1]] < int(parts[3]) for _, parts in read):
                await asyncio.sleep(0.01)
            assert all(text in plain for text, _ in read), "the page read an unpublished message"
            history = await asyncio.to_thread(gateway.total, "deflate_messages_total", how="history")
            ratio = gateway.total("deflate_out_bytes_total") / gateway.total("deflate_in_bytes_total")
            assert history > 0.8 * len(read), f"{history} of {len(read)} quotes refer to an earlier one"
            assert ratio < QUOTE_RATIO_MAX, f"quotes take {ratio:.2f} of their bytes"
            return f"{len(read):,} quotes read, {history:,} with a reference; quotes {ratio:.3f}"
        finally:
            other.cut()
            await client.end()


OTHERS = {"page": page_reads_quotes, "dialects": other_dialects}


async def run(names):
    failed = []
    for name in names:
        started = time.monotonic()
        try:
            figures = await (OTHERS[name]() if name in OTHERS else client_reads_the_mix(name))
            print(f"ok    {name}: {figures}; {time.monotonic() - started:.1f} s", flush=True)
        except Exception as error:  # the other clients run nevertheless
            traceback.print_exc()
            print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
            failed.append(name)
    return failed


if __name__ == "__main__":
    known = [*CLIENTS, *OTHERS]
    names = sys.argv[1:] or known
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"there is no client {unknown[0]}; the clients are {' '.join(known)}")
    sys.exit(1 if asyncio.run(run(names)) else 0)
