"""Bombs and hogs: each is answered with its own code and counted under its own name, a well-behaved session beside them misses nothing, and memory stays bounded."""

import asyncio
import json
import struct
import time
import zlib

from errand import Errand, Flags
from gateway import Gateway
from process import until
from websocket import NO_MASK, connect, frame

MIB = 1 << 20
# What a thousand connections at once may have under way: `message_bytes` each, and as much for their buffers.
ROOM_MIB = 2 * 1000 * 64 // 1024
BOMB_BYTES = 42 * MIB
WITNESS_PER_SECOND = 50
LIMITS = 'handshake_timeout = "2s"\nmessage_timeout = "2s"'
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
)


async def upgraded(port, more="", path="/ws"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPGRADE.format(path=path, port=port, more=more).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert b" 101 " in head, f"the upgrade was answered {head[:60]!r}"
    return reader, writer, head


async def close_code(reader, writer):
    """Reads up to the Close, and answers its code; 1006 where none comes."""
    try:
        while True:
            first, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await reader.readexactly(8), "big")
            payload = await reader.readexactly(length)
            if first & 15 == 8:
                return int.from_bytes(payload[:2], "big")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 1006
    finally:
        writer.transport.abort()


async def write_on(writer, data):
    try:
        writer.write(data)
        await writer.drain()
        return True
    except ConnectionError:
        return False


async def bomb(port, number, shared):
    reader, writer, head = await upgraded(port, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert b"permessage-deflate" in head, "the gateway does not take compression"
    writer.write(bytes([0xC1]) + frame(1, shared)[1:])
    return await close_code(reader, writer)


async def lie(port, number, _shared):
    """A length of 2^63, which no frame may have, or one less, which is merely too long."""
    reader, writer, _ = await upgraded(port)
    writer.write(bytes([0x82, 0xFF]) + struct.pack("!Q", (1 << 63) - number % 2) + NO_MASK)
    return await close_code(reader, writer)


async def fragments(port, number, _shared):
    reader, writer, _ = await upgraded(port)
    parts = bytes([0x01, 0x80]) + NO_MASK + (bytes([0x00, 0x80]) + NO_MASK) * 65_535
    for begin in range(0, len(parts), 6_000):
        if not await write_on(writer, parts[begin : begin + 6_000]):
            break
    return await close_code(reader, writer)


async def pings(port, number, _shared):
    """50,000 pings a second, for as long as it is let."""
    reader, writer, _ = await upgraded(port)
    answer = asyncio.ensure_future(close_code(reader, writer))
    thousand = frame(9, b"x" * 8) * 1_000
    for _ in range(100):
        if answer.done() or not await write_on(writer, thousand):
            break
        await asyncio.sleep(0.02)
    return await answer


async def trickle(port, number, _shared):
    """A request's head that never ends: a byte at a time, as slowly as it takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(reader.read())
    head = UPGRADE.format(path="/ws", port=port, more="").encode()
    for byte in head:
        if answer.done() or not await write_on(writer, bytes([byte])):
            break
        await asyncio.wait({answer}, timeout=0.25)
    try:
        told = await asyncio.wait_for(answer, 20)
    except ConnectionError:
        told = b""
    writer.transport.abort()
    assert told == b"" or b" 408 " in told[:20], f"a slow head was answered {told[:60]!r}"
    return 408


async def long_headers(port, number, _shared):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await write_on(writer, UPGRADE.format(path="/ws", port=port, more="X-Long: " + "x" * (64 << 10) + "\r\n").encode())
    try:
        told = await asyncio.wait_for(reader.read(64), 20)
    except ConnectionError:
        return 0  # it had stopped reading, and the reset overtook its answer
    finally:
        writer.transport.abort()
    return int(told.split(b" ", 2)[1])


async def subscriptions(port, number, _shared):
    """10,000 names with long last tokens, a hundred a command, at the rate that the limits allow."""
    refused = asyncio.Queue()
    websocket = await connect(port, lambda text: refused.put_nowait(json.loads(text)))
    for begin in range(0, 10_000, 100):
        names = [f"hog.{number}.{name}.{'x' * 200}" for name in range(begin, begin + 100)]
        websocket.say({"op": "subscribe", "id": begin, "topics": names})
    codes = []
    while len(codes) < 100:
        event = await asyncio.wait_for(refused.get(), 20)
        if event["op"] != "welcome":
            codes.append(event.get("code"))
    websocket.reset()
    assert codes[:10] == [None] * 10 and set(codes[10:]) == {"too_many_subscriptions"}, f"10,000 subscriptions were answered {codes}"
    return 0


# By name: who, how many of them, which codes are right, and the series that counts each.
HOGS = {
    "inflating bombs": (bomb, 100, {1009}, ("sessions_closed_total", {"reason": "message_too_big"})),
    "lengths of 2^63": (lie, 1000, {1002, 1009}, ("sessions_closed_total", {"reason": "protocol"})),
    "65,536 empty fragments": (fragments, 20, {4003}, ("sessions_closed_total", {"reason": "rate_limited"})),
    "floods of pings": (pings, 10, {4003}, ("limit_hits_total", {"limit": "frames_per_second"})),
    "slow heads": (trickle, 1000, {408}, ("handshakes_rejected_total", {"reason": "timeout"})),
    "headers of 64 KiB": (long_headers, 200, {431}, ("handshakes_rejected_total", {"reason": "header_bytes"})),
    "10,000 subscriptions": (subscriptions, 20, {0}, ("limit_hits_total", {"limit": "subscriptions_per_session"})),
}


async def misbehave(port, hog, count, shared):
    """So many at once; how often each code came."""
    codes = await asyncio.gather(*(hog(port, number, shared) for number in range(count)))
    return {code: codes.count(code) for code in sorted(set(codes))}


async def witness(port, flags):
    """Publishes and hears it, at a steady rate; answers how many, and how long each took."""
    took, sent, heard = [], 0, asyncio.Event()

    def hear(text):
        event = json.loads(text)
        if event["op"] == "message":
            assert event["offset"] == event["data"]["n"] == len(took) + 1, f"the witness heard {event} after {len(took)}"
            took.append(time.monotonic() - event["data"]["t"])
        elif event["op"] == "subscribed":
            heard.set()
        else:
            assert event["op"] == "welcome", f"the witness was told {event}"

    websocket = await connect(port, hear)
    websocket.say({"op": "subscribe", "id": 1, "topics": ["witness"]})
    await asyncio.wait_for(heard.wait(), 10)
    while not flags["ends"]:
        sent += 1
        websocket.say({"op": "publish", "topic": "witness", "data": {"n": sent, "t": time.monotonic()}})
        await asyncio.sleep(1 / WITNESS_PER_SECOND)
    for _ in range(1000):
        if len(took) == sent or websocket.closed.done():
            break
        await asyncio.sleep(0.02)
    assert len(took) == sent, f"the witness missed {sent - len(took)} of {sent} messages, closed: {websocket.closed.done()}"
    websocket.reset()
    return took


def hogs(long):
    """Bombs, lies, floods and trickles by the hundred: the right code and the right count for each, a witness that misses nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(BOMB_BYTES)) + packer.flush(zlib.Z_SYNC_FLUSH)
    share = 1 if long else 10
    figures = []
    with Gateway(limits=LIMITS, rates="") as gateway:
        flags = Flags()
        beside = Errand(witness, gateway.port, flags)
        until("the witness is there", lambda: gateway.total("subscriptions") == 1, 10)
        time.sleep(0.5)
        resting = gateway.rss()
        gateway.forget_peak()
        for name, (hog, count, right, (series, labels)) in HOGS.items():
            count = max(1, count // share)
            before = gateway.total(series, **labels)
            shared = packed[:-4] if hog is bomb else None
            codes = Errand(misbehave, gateway.port, hog, count, shared).answer(120)
            wrong = {code: times for code, times in codes.items() if code not in right}
            # Who still writes as it is closed may see the connection's reset in the Close's place.
            tolerated = hog in (fragments, pings, long_headers) and set(wrong) <= {0, 1006}
            assert not wrong or tolerated, f"{name} were answered {codes}, not {right}"
            due = count // 2 if hog is lie else count
            until(lambda: f"{name}: {due} in {series}{labels}; it has {gateway.total(series, **labels) - before}", lambda: gateway.total(series, **labels) - before >= due, 20)
            figures.append(f"{count} × {name} ({', '.join(str(code) for code in codes)})")
        until("nobody is left but the witness", lambda: gateway.total("sessions") == 1, 20)
        flags["ends"] = True
        took = sorted(beside.answer(60))
        peak = gateway.peak()
        assert peak - resting <= ROOM_MIB * MIB, f"memory rose from {resting / MIB:.0f} to {peak / MIB:.0f} MiB"
        gateway.close_accounts("")
        p99 = took[int(len(took) * 0.99)] * 1000
        return f"{'; '.join(figures)}; the witness missed none of {len(took)}, p99 {p99:.1f} ms; memory {resting / MIB:.0f} MiB, at most {peak / MIB:.0f}"
