"""Many sessions and topics that begin and end: afterwards the gateway holds nothing of them."""

import asyncio
import json
import random
import struct
import time

from worker import Worker
from gateway import Gateway
from process import until
from websocket import connect

MIB = 1 << 20
# For requests' bodies and the allocator. On a slow machine few topics exist at the same time, and this is most of the bound.
SLACK_BYTES = 24 * MIB
RULES = """
[[topics]]
match = "kept.>"
history = 5
history_ttl = "1s"
presence = true
[[topics]]
match = "all.>"
history = 2
history_ttl = "8s"
[[topics]]
match = "plain.>"
"""


async def open_and_end(port, count, per_second, seed):
    """`count` sessions: half of them subscribe, half end without a Close, some amid the handshake or amid a frame."""
    rng = random.Random(seed)
    started, tasks, failed = time.monotonic(), set(), []

    async def one(number):
        if number % 20 == 0:
            return await break_handshake(port, rng)
        websocket = await connect(port, lambda _text: None)
        if number % 2:
            names = [f"kept.{rng.randrange(1 << 30)}" for _ in range(3)] + [f"plain.{rng.randrange(100)}", f"plain.{rng.randrange(100)}.*"]
            options = {"last": 5, "presence": True, "interval_ms": 50} if number % 4 == 1 else {}
            websocket.send_command({"op": "subscribe", "topics": names, **options})
            websocket.send_command({"op": "publish", "topic": names[0], "data": number})
        await asyncio.sleep(rng.uniform(0, 0.5))
        how = rng.randrange(4)
        if how < 2:
            websocket.send_frame(8, struct.pack("!H", 1000))
        elif how == 2:
            websocket.cut_mid_frame(rng.randrange(60))
        else:
            websocket.reset()
        await asyncio.wait_for(websocket.closed, 40)

    async def run_one(number):
        try:
            await one(number)
        except Exception as error:
            failed.append(error)

    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
        task = asyncio.ensure_future(run_one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    assert not failed, f"{len(failed)} of {count} sessions failed: {failed[0]!r}"
    return time.monotonic() - started


async def break_handshake(port, rng):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    whole = (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    writer.write(whole[: rng.randrange(1, len(whole) + 1)])
    await asyncio.sleep(rng.uniform(0, 0.05))
    writer.transport.abort()


def crowd_of_sessions(long):
    """Sessions that end, half of them without a Close: afterwards no session, subscription, topic or descriptor is left."""
    count, per_second = (24_000, 200) if long else (4_000, 400)
    with Gateway(rules=RULES) as gateway:
        Worker(open_and_end, gateway.port, 400, 400, 1).result(60)
        wait_until_empty(gateway, descriptors=None)
        rss, descriptors = gateway.rss(), gateway.descriptors()
        workers = [Worker(open_and_end, gateway.port, count // 2, per_second / 2, seed) for seed in (2, 3)]
        seconds = max(worker.result(300) for worker in workers)
        took = wait_until_empty(gateway, descriptors)
        opened = gateway.total("sessions_opened_total")
        closed = gateway.total("sessions_closed_total")
        assert opened == closed, f"{opened} sessions were opened and {closed} closed"
        for rule in ("kept.>", "plain.>"):
            gateway.close_accounts(rule)
        growth = (gateway.rss() - rss) / MIB
        assert growth <= 10, f"resident memory grew by {growth:.1f} MiB over {count} sessions"
        return f"{count} connections at {count / seconds:.0f}/s: nothing left of them after {took:.1f} s, descriptors {descriptors}, memory {growth:+.1f} MiB"


def wait_until_empty(gateway, descriptors, seconds=15):
    """Waits until no session, subscription or topic is left but `$belfry.stats`; returns how long that took."""
    started = time.monotonic()

    def left():
        found = {name: gateway.total(name) for name in ("sessions", "subscriptions", "topics", "outbox_bytes")}
        found["topics"] -= gateway.status("/v1/topics/$belfry.stats") == 200
        if descriptors is not None:
            # `descriptors` may include the connection of a metrics request.
            found["descriptors"] = max(0, gateway.descriptors() - descriptors)
        return {name: count for name, count in found.items() if count}

    until(lambda: f"nothing is left; there are still {left()}", lambda: not left(), seconds)
    return time.monotonic() - started


async def subscribe_and_unsubscribe(port, count, prefix):
    """One session subscribes to names and unsubscribes from them, a thousand at a time, and ends with a reset."""
    replies = asyncio.Queue()
    websocket = await connect(port, lambda text: replies.put_nowait(json.loads(text)))
    for begin in range(0, count, 1000):
        names = [f"{prefix}{number}" for number in range(begin, min(count, begin + 1000))]
        websocket.send_command({"op": "subscribe", "id": begin, "topics": names})
        if begin + 1000 < count:
            websocket.send_command({"op": "unsubscribe", "id": begin, "topics": names})
        while (reply := await asyncio.wait_for(replies.get(), 60))["op"] != ("unsubscribed" if begin + 1000 < count else "subscribed"):
            assert reply["op"] in ("welcome", "subscribed"), f"the session got {reply}"
    websocket.reset()


def crowd_of_topics(long):
    """Names that are published or subscribed to once: when the topics have ended, the gauge and the memory are as before."""
    count = 1_000_000 if long else 100_000
    with Gateway(rules=RULES, limits="topics = 2000000") as gateway:
        start, measures = gateway.rss(), []
        for generation in range(2):
            started = time.monotonic()
            subscriber = Worker(subscribe_and_unsubscribe, gateway.port, count // 4, f"plain.s{generation}.")
            publish_once(gateway, f"all.p{generation}", count // 2)
            publish_once(gateway, f"plain.p{generation}", count // 4)
            subscriber.result(120)
            peak, topics, took = gateway.rss(), gateway.total("topics"), time.monotonic() - started
            wait_until_empty(gateway, None, seconds=60)
            # What is left is the newest `$belfry.stats`.
            until("the histories of ended topics are gone", lambda: gateway.total("history_bytes") < 1024, 5)
            time.sleep(2)
            measures.append((peak, topics, took, gateway.rss()))
        (peak, topics, took, first), (_, _, _, second) = measures
        figures = f"memory {start / MIB:.0f} MiB at the start, {peak / MIB:.0f} with {topics} topics, {first / MIB:.0f} after them, {second / MIB:.0f} after as many again"
        assert first - start <= (peak - start) * 0.5 + SLACK_BYTES, f"the memory of ended topics is not freed: {figures}"
        assert second - first <= 0.2 * (peak - start) + SLACK_BYTES, f"memory grows with each generation of topics: {figures}"
        return f"2 × {count} names, {took:.1f} s: all topics ended; {figures}"


def publish_once(gateway, prefix, count):
    for begin in range(0, count, 10_000):
        gateway.publish_batch((f"{prefix}.{number}", number) for number in range(begin, min(count, begin + 10_000)))


def topics_past_the_cap(long):
    """More topics than the limit: a topic that gives way leaves no memory behind, however long its `history_ttl`."""
    cap, generations, warm = (50_000, 12, 3) if long else (20_000, 8, 2)  # the allocator's caches fill in the first `warm`
    rules = '[[topics]]\nmatch = "kept.>"\nhistory = 1\nhistory_ttl = "24h"\n'
    with Gateway(rules=rules, limits=f"topics = {cap}") as gateway:
        measures = []
        for generation in range(generations):
            for begin in range(0, cap, 10_000):
                gateway.publish_batch((f"kept.{generation}.{number}", number) for number in range(begin, begin + 10_000))
            time.sleep(3.5)  # the gateway may end a topic from an age of 3 s on
            measures.append(gateway.rss())
        topics = gateway.total("topics")
        assert topics <= cap, f"there are {topics} topics, the limit is {cap}"
        # The least of each half, because the allocator frees some memory a moment later.
        half = (generations - warm) // 2
        growth = (min(measures[-half:]) - min(measures[warm : warm + half])) / MIB / (generations - warm - half)
        # A topic with its message takes about 650 bytes, by `crowd-of-topics`; the allocator's caches may grow by a fifth.
        assert growth * MIB / cap <= 200, f"each {cap} topics that gave way leave {growth:.1f} MiB behind ({growth * MIB / cap:.0f} bytes a topic)"
        return f"{generations} × {cap} names, {cap} at once: each generation leaves {growth:+.1f} MiB behind"
