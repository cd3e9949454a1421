"""Crowds of sessions and of topics that come and go: afterwards nothing of them is left."""

import asyncio
import json
import random
import struct
import time

from errand import Errand
from gateway import Gateway
from process import until
from websocket import connect

MIB = 1 << 20
# What bodies under way and the allocator keep; on a slow machine topics die before there are many, and this is most of it.
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


async def come_and_go(port, count, per_second, seed):
    """So many sessions, half of them subscribed, half of them gone without Close; some in mid-handshake, some in mid-frame."""
    rng = random.Random(seed)
    begun, lives, failed = time.monotonic(), set(), []

    async def one(number):
        if number % 20 == 0:
            return await break_handshake(port, rng)
        websocket = await connect(port, lambda _text: None)
        if number % 2:
            names = [f"kept.{rng.randrange(1 << 30)}" for _ in range(3)] + [f"plain.{rng.randrange(100)}", f"plain.{rng.randrange(100)}.*"]
            options = {"last": 5, "presence": True, "interval_ms": 50} if number % 4 == 1 else {}
            websocket.say({"op": "subscribe", "topics": names, **options})
            websocket.say({"op": "publish", "topic": names[0], "data": number})
        await asyncio.sleep(rng.uniform(0, 0.5))
        how = rng.randrange(4)
        if how < 2:
            websocket.send_frame(8, struct.pack("!H", 1000))
        elif how == 2:
            websocket.cut_mid_frame(rng.randrange(60))
        else:
            websocket.reset()
        await asyncio.wait_for(websocket.closed, 40)

    async def noted(number):
        try:
            await one(number)
        except Exception as error:
            failed.append(error)

    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / per_second - time.monotonic()))
        life = asyncio.ensure_future(noted(number))
        lives.add(life)
        life.add_done_callback(lives.discard)
    await asyncio.gather(*lives)
    assert not failed, f"{len(failed)} of {count} sessions could not come or go: {failed[0]!r}"
    return time.monotonic() - begun


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
    """Sessions that come and go, half of them without Close: afterwards sessions, subscriptions, topics and descriptors are as before."""
    count, per_second = (24_000, 200) if long else (4_000, 400)
    with Gateway(rules=RULES) as gateway:
        Errand(come_and_go, gateway.port, 400, 400, 1).answer(60)
        rest(gateway, descriptors=None)
        rss, descriptors = gateway.rss(), gateway.descriptors()
        errands = [Errand(come_and_go, gateway.port, count // 2, per_second / 2, seed) for seed in (2, 3)]
        seconds = max(errand.answer(300) for errand in errands)
        took = rest(gateway, descriptors)
        opened = gateway.total("sessions_opened_total")
        closed = gateway.total("sessions_closed_total")
        assert opened == closed, f"{opened} sessions were opened and {closed} closed"
        for rule in ("kept.>", "plain.>"):
            gateway.close_accounts(rule)
        grown = (gateway.rss() - rss) / MIB
        assert grown <= 10, f"resident memory grew by {grown:.1f} MiB over {count} sessions"
        return f"{count} connections at {count / seconds:.0f}/s: nothing left of them after {took:.1f} s, descriptors {descriptors}, memory {grown:+.1f} MiB"


def rest(gateway, descriptors, seconds=15):
    """Waits until no session, subscription or topic is left but the gateway's own; answers how long that took."""
    begun = time.monotonic()

    def left():
        found = {name: gateway.total(name) for name in ("sessions", "subscriptions", "topics", "outbox_bytes")}
        found["topics"] -= gateway.status("/v1/topics/$belfry.stats") == 200
        if descriptors is not None:
            # The question itself holds one.
            found["descriptors"] = max(0, gateway.descriptors() - descriptors)
        return {name: count for name, count in found.items() if count}

    until(lambda: f"at rest; left are {left()}", lambda: not left(), seconds)
    return time.monotonic() - begun


async def subscribe_in_turn(port, count, prefix):
    """Names subscribed to and left again, a thousand at a time, by one session that in the end just goes."""
    replies = asyncio.Queue()
    websocket = await connect(port, lambda text: replies.put_nowait(json.loads(text)))
    for begin in range(0, count, 1000):
        names = [f"{prefix}{number}" for number in range(begin, min(count, begin + 1000))]
        websocket.say({"op": "subscribe", "id": begin, "topics": names})
        if begin + 1000 < count:
            websocket.say({"op": "unsubscribe", "id": begin, "topics": names})
        while (reply := await asyncio.wait_for(replies.get(), 60))["op"] != ("unsubscribed" if begin + 1000 < count else "subscribed"):
            assert reply["op"] in ("welcome", "subscribed"), f"the session was told {reply}"
    websocket.reset()


def crowd_of_topics(long):
    """Topic names published to and subscribed to once: when they have died, the gauge and the memory are back."""
    count = 1_000_000 if long else 100_000
    with Gateway(rules=RULES, limits="topics = 2000000") as gateway:
        start, measures = gateway.rss(), []
        for generation in range(2):
            begun = time.monotonic()
            subscriber = Errand(subscribe_in_turn, gateway.port, count // 4, f"plain.s{generation}.")
            publish_once(gateway, f"all.p{generation}", count // 2)
            publish_once(gateway, f"plain.p{generation}", count // 4)
            subscriber.answer(120)
            peak, topics, took = gateway.rss(), gateway.total("topics"), time.monotonic() - begun
            rest(gateway, None, seconds=60)
            # What is left is the newest `$belfry.stats`.
            until("the histories of topics that died are gone", lambda: gateway.total("history_bytes") < 1024, 5)
            time.sleep(2)
            measures.append((peak, topics, took, gateway.rss()))
        (peak, topics, took, first), (_, _, _, second) = measures
        told = f"memory {start / MIB:.0f} MiB at the start, {peak / MIB:.0f} with {topics} topics, {first / MIB:.0f} after them, {second / MIB:.0f} after as many again"
        assert first - start <= (peak - start) * 0.5 + SLACK_BYTES, f"the memory of topics that died does not return: {told}"
        assert second - first <= 0.2 * (peak - start) + SLACK_BYTES, f"memory grows with each generation of topics: {told}"
        return f"2 × {count} names, {took:.1f} s: all died; {told}"


def publish_once(gateway, prefix, count):
    for begin in range(0, count, 10_000):
        gateway.publish_batch((f"{prefix}.{number}", number) for number in range(begin, min(count, begin + 10_000)))


def topics_past_the_cap(long):
    """Topics that give way to others long before their histories end: what was kept of them goes with them."""
    cap, generations, warm = (50_000, 12, 3) if long else (20_000, 8, 2)  # the allocator's own store fills first
    rules = '[[topics]]\nmatch = "kept.>"\nhistory = 1\nhistory_ttl = "24h"\n'
    with Gateway(rules=rules, limits=f"topics = {cap}") as gateway:
        measures = []
        for generation in range(generations):
            for begin in range(0, cap, 10_000):
                gateway.publish_batch((f"kept.{generation}.{number}", number) for number in range(begin, begin + 10_000))
            time.sleep(3.5)  # a topic is first looked after when it is 3 s old
            measures.append(gateway.rss())
        topics = gateway.total("topics")
        assert topics <= cap, f"{topics} topics live, the limit is {cap}"
        # The least of each half: what the allocator gives back a moment later is nothing that is left behind.
        half = (generations - warm) // 2
        grown = (min(measures[-half:]) - min(measures[warm : warm + half])) / MIB / (generations - warm - half)
        # A topic with its message takes about 650 bytes, by `crowd-of-topics`; the allocator's own store grows by a fifth of that now and then.
        assert grown * MIB / cap <= 200, f"each {cap} topics that gave way leave {grown:.1f} MiB behind ({grown * MIB / cap:.0f} bytes a topic)"
        return f"{generations} × {cap} names, {cap} at once: each generation leaves {grown:+.1f} MiB behind"
