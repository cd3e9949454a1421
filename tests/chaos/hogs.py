"""Abusive clients: each kind gets its code and its count, another session misses nothing, and memory stays bounded."""

import asyncio
import json
import struct
import time
import zlib

from worker import Worker, Flags
from gateway import Gateway
from process import until
from websocket import NO_MASK, connect, frame

MIB = 1 << 20
# A thousand connections with `message_bytes` each, and as much for their buffers.
GROWTH_MIB = 2 * 1000 * 64 // 1024
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
    """Reads up to the Close, and returns its code; 1006 if none comes."""
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


async def try_write(writer, data):
    """Whether the peer still took `data`."""
    try:
        writer.write(data)
        await writer.drain()
        return True
    except ConnectionError:
        return False


async def bomb(port, number, shared):
    reader, writer, head = await upgraded(port, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert b"permessage-deflate" in head, "the gateway refused permessage-deflate"
    writer.write(bytes([0xC1]) + frame(1, shared)[1:])
    return await close_code(reader, writer)


async def impossible_lengths(port, number, _shared):
    """A frame's length of 2^63, which is invalid, or one less, which is only too long."""
    reader, writer, _ = await upgraded(port)
    writer.write(bytes([0x82, 0xFF]) + struct.pack("!Q", (1 << 63) - number % 2) + NO_MASK)
    return await close_code(reader, writer)


async def fragments(port, number, _shared):
    reader, writer, _ = await upgraded(port)
    parts = bytes([0x01, 0x80]) + NO_MASK + (bytes([0x00, 0x80]) + NO_MASK) * 65_535
    for begin in range(0, len(parts), 6_000):
        if not await try_write(writer, parts[begin : begin + 6_000]):
            break
    return await close_code(reader, writer)


async def pings(port, number, _shared):
    """50,000 pings a second until the gateway closes the session."""
    reader, writer, _ = await upgraded(port)
    answer = asyncio.ensure_future(close_code(reader, writer))
    thousand = frame(9, b"x" * 8) * 1_000
    for _ in range(100):
        if answer.done() or not await try_write(writer, thousand):
            break
        await asyncio.sleep(0.02)
    return await answer


async def slow_head(port, number, _shared):
    """A request's head, a byte every 250 ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(reader.read())
    head = UPGRADE.format(path="/ws", port=port, more="").encode()
    for byte in head:
        if answer.done() or not await try_write(writer, bytes([byte])):
            break
        await asyncio.wait({answer}, timeout=0.25)
    try:
        response = await asyncio.wait_for(answer, 20)
    except ConnectionError:
        response = b""
    writer.transport.abort()
    assert response == b"" or b" 408 " in response[:20], f"a slow head was answered {response[:60]!r}"
    return 408


async def long_headers(port, number, _shared):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await try_write(writer, UPGRADE.format(path="/ws", port=port, more="X-Long: " + "x" * (64 << 10) + "\r\n").encode())
    try:
        response = await asyncio.wait_for(reader.read(64), 20)
    except ConnectionError:
        return 0  # the gateway stopped reading, and its reset overtook its response
    finally:
        writer.transport.abort()
    return int(response.split(b" ", 2)[1])


async def subscriptions(port, number, _shared):
    """10,000 names with long last tokens, a hundred in each command."""
    events = asyncio.Queue()
    websocket = await connect(port, lambda text: events.put_nowait(json.loads(text)))
    for begin in range(0, 10_000, 100):
        names = [f"hog.{number}.{name}.{'x' * 200}" for name in range(begin, begin + 100)]
        websocket.send_command({"op": "subscribe", "id": begin, "topics": names})
    codes = []
    while len(codes) < 100:
        event = await asyncio.wait_for(events.get(), 20)
        if event["op"] != "welcome":
            codes.append(event.get("code"))
    websocket.reset()
    assert codes[:10] == [None] * 10 and set(codes[10:]) == {"too_many_subscriptions"}, f"10,000 subscriptions were answered {codes}"
    return 0


# By name: the client, how many of it run, the right codes, and the series that counts them.
HOGS = {
    "inflating bombs": (bomb, 100, {1009}, ("sessions_closed_total", {"reason": "message_too_big"})),
    "lengths of 2^63": (impossible_lengths, 1000, {1002, 1009}, ("sessions_closed_total", {"reason": "protocol"})),
    "65,536 empty fragments": (fragments, 20, {4003}, ("sessions_closed_total", {"reason": "rate_limited"})),
    "floods of pings": (pings, 10, {4003}, ("limit_hits_total", {"limit": "frames_per_second"})),
    "slow heads": (slow_head, 1000, {408}, ("handshakes_rejected_total", {"reason": "timeout"})),
    "headers of 64 KiB": (long_headers, 200, {431}, ("handshakes_rejected_total", {"reason": "header_bytes"})),
    "10,000 subscriptions": (subscriptions, 20, {0}, ("limit_hits_total", {"limit": "subscriptions_per_session"})),
}


async def misbehave(port, hog, count, shared):
    """Runs `count` of these clients at the same time; returns how often each code came."""
    codes = await asyncio.gather(*(hog(port, number, shared) for number in range(count)))
    return {code: codes.count(code) for code in sorted(set(codes))}


async def witness(port, flags):
    """Publishes to itself at a steady rate; returns the latency of each message."""
    latencies, sent, subscribed = [], 0, asyncio.Event()

    def receive(text):
        event = json.loads(text)
        if event["op"] == "message":
            assert event["offset"] == event["data"]["n"] == len(latencies) + 1, f"the witness got {event} after {len(latencies)}"
            latencies.append(time.monotonic() - event["data"]["t"])
        elif event["op"] == "subscribed":
            subscribed.set()
        else:
            assert event["op"] == "welcome", f"the witness got {event}"

    websocket = await connect(port, receive)
    websocket.send_command({"op": "subscribe", "id": 1, "topics": ["witness"]})
    await asyncio.wait_for(subscribed.wait(), 10)
    while not flags["ends"]:
        sent += 1
        websocket.send_command({"op": "publish", "topic": "witness", "data": {"n": sent, "t": time.monotonic()}})
        await asyncio.sleep(1 / WITNESS_PER_SECOND)
    for _ in range(1000):
        if len(latencies) == sent or websocket.closed.done():
            break
        await asyncio.sleep(0.02)
    assert len(latencies) == sent, f"the witness missed {sent - len(latencies)} of {sent} messages, closed: {websocket.closed.done()}"
    websocket.reset()
    return latencies


def hogs(long):
    """Hundreds of abusive clients: the right code and the right count for each, and a witness that misses nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(BOMB_BYTES)) + packer.flush(zlib.Z_SYNC_FLUSH)
    share = 1 if long else 10
    figures = []
    with Gateway(limits=LIMITS, rates="") as gateway:
        flags = Flags()
        witness_worker = Worker(witness, gateway.port, flags)
        until("the witness is subscribed", lambda: gateway.total("subscriptions") == 1, 10)
        time.sleep(0.5)
        before_load = gateway.rss()
        gateway.reset_peak()
        for name, (hog, count, right, (series, labels)) in HOGS.items():
            count = max(1, count // share)
            before = gateway.total(series, **labels)
            shared = packed[:-4] if hog is bomb else None
            codes = Worker(misbehave, gateway.port, hog, count, shared).result(120)
            wrong = {code: times for code, times in codes.items() if code not in right}
            # A client that still writes while it is closed may see a reset instead of the Close.
            tolerated = hog in (fragments, pings, long_headers) and set(wrong) <= {0, 1006}
            assert not wrong or tolerated, f"{name} were answered {codes}, not {right}"
            expected = count // 2 if hog is impossible_lengths else count
            until(lambda: f"{name}: {expected} in {series}{labels}; it has {gateway.total(series, **labels) - before}", lambda: gateway.total(series, **labels) - before >= expected, 20)
            figures.append(f"{count} × {name} ({', '.join(str(code) for code in codes)})")
        until("only the witness is left", lambda: gateway.total("sessions") == 1, 20)
        flags["ends"] = True
        latencies = sorted(witness_worker.result(60))
        peak = gateway.peak()
        assert peak - before_load <= GROWTH_MIB * MIB, f"memory rose from {before_load / MIB:.0f} to {peak / MIB:.0f} MiB"
        gateway.close_accounts("")
        p99 = latencies[int(len(latencies) * 0.99)] * 1000
        return f"{'; '.join(figures)}; the witness missed none of {len(latencies)}, p99 {p99:.1f} ms; memory {before_load / MIB:.0f} MiB, at most {peak / MIB:.0f}"
