"""Sessions that read too slowly, or nothing: each `on_slow`, the latency of the other sessions, and the accounts."""

import asyncio
import json
import mmap
import re
import struct
import time

from worker import Worker, Flags
from gateway import Gateway
from process import until
from websocket import connect

RULES = """
[[topics]]
match = "conflated.>"
on_slow = "conflate"
history = 100
[[topics]]
match = "dropping.>"
on_slow = "drop_oldest"
[[topics]]
match = "closing.>"
on_slow = "disconnect"
history = 1000000
[[topics]]
match = "replayed.>"
on_slow = "replay"
history = 1000000
"""
LIMITS = 'outbox_bytes = 16384\nwrite_timeout = "1h"'
TOPICS = 3
FILLING = "x" * 512
TRICKLE_BYTES_PER_SECOND = 1024
# Bytes in the kernel's receive buffer have left the gateway's outbox.
RECEIVE_BUFFER = 16384
# A message in the gateway's spelling; a JSON parser would make these listeners slow.
MESSAGE = re.compile(rb'\{"op":"message","topic":"([^"]+)","epoch":"[^"]+","offset":(\d+),(?:"replay":true,)?"data":\{"n":(\d+),"t":([\d.e-]+),"x":"x+"\}\}')


class Listener:
    """One session on all topics of a rule; checks its events against the rule's `on_slow`."""

    def __init__(self, port, topics, flags, kind, reached, slot):
        self.port, self.topics, self.flags, self.kind = port, topics, flags, kind
        self.reached, self.slot = reached, slot
        self.rule = topics[0].partition(".")[0]
        self.offsets = dict.fromkeys(topics, 0)
        self.values = dict.fromkeys(topics, 0)
        self.epochs = {}
        self.latencies = []
        self.codes = []
        self.skipped = self.in_gaps = self.recovered = 0
        self.websocket = None

    async def run(self):
        slow = self.kind != "fast"
        rate = TRICKLE_BYTES_PER_SECOND if self.kind == "trickling" else None
        self.websocket = await connect(self.port, self.receive, receive_buffer=RECEIVE_BUFFER if slow else None, bytes_per_second=rate)
        self.websocket.send_command({"op": "subscribe", "topics": self.topics, "id": 1, "last": 0})
        if self.kind == "stalled":
            await asyncio.sleep(0.2)
            self.websocket.pause()
        while not self.flags["ends"]:
            closed, _ = await asyncio.wait({self.websocket.closed}, timeout=0.05)
            if closed:
                self.codes.append(self.websocket.code)
                await self.resume()
            elif slow and not self.flags["drops"]:
                slow = False
                self.websocket.bytes_per_second = None
                self.websocket.resume()
        self.websocket.transport.abort()

    async def resume(self):
        assert self.rule == "closing", f"a session under {self.rule} was closed with {self.codes[-1]}"
        self.websocket = await connect(self.port, self.receive)
        since = {topic: {"epoch": self.epochs[topic], "offset": self.offsets[topic]} for topic in self.topics}
        self.websocket.send_command({"op": "subscribe", "topics": self.topics, "id": 2, "since": since})

    def receive(self, text):
        if message := MESSAGE.fullmatch(text):
            topic, offset, number, sent_at = message.groups()
            return self.receive_message(topic.decode(), int(offset), int(number), float(sent_at))
        event = json.loads(text)
        op = event["op"]
        if op == "gap":
            assert self.rule == "dropping", f"a gap under {self.rule}: {event}"
            expected = self.offsets[event["topic"]] + 1
            assert event["from"] == expected and event["to"] >= expected, f"{event} where {expected} was next"
            self.offsets[event["topic"]] = event["to"]
            self.in_gaps += event["to"] - expected + 1
        elif op == "subscribed":
            for entry in event["topics"]:
                if event["id"] == 2:
                    assert entry["recovered"] is True, f"after 4004, since was answered {entry}"
                    self.recovered += 1
                else:
                    self.epochs[entry["topic"]], self.offsets[entry["topic"]] = entry["epoch"], entry["offset"]
        elif op != "welcome":
            raise AssertionError(f"a session got {event}")

    def receive_message(self, topic, offset, number, sent_at):
        expected = self.offsets[topic] + 1
        exact = self.rule != "conflated" or self.kind == "fast"
        assert offset == expected or (offset > expected and not exact), f"{self.kind} under {self.rule}: offset {offset} of {topic} where {expected} was next"
        self.skipped += offset - expected
        self.offsets[topic], self.values[topic] = offset, number
        struct.pack_into("<Q", self.reached, 8 * self.slot, sum(self.values.values()))
        if self.kind == "fast":
            self.latencies.append(time.monotonic() - sent_at)


async def listen(port, topics, flags, kinds, reached, slot):
    """Runs listeners of these kinds until the scenario ends, with slots in `reached` from `slot` on; returns their results."""
    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context.get("exception") or context["message"]))
    listeners = [Listener(port, topics, flags, kind, reached, slot + index) for index, kind in enumerate(kinds)]
    tasks = [asyncio.ensure_future(listener.run()) for listener in listeners]
    while not flags["ends"] and not failed:
        await asyncio.sleep(0.05)
        failed.extend(task.exception() for task in tasks if task.done() and task.exception())
    assert not failed, f"{failed[0]!r}" if not isinstance(failed[0], AssertionError) else str(failed[0])
    await asyncio.gather(*tasks)
    return [
        {name: getattr(listener, name) for name in ("kind", "offsets", "values", "latencies", "codes", "skipped", "in_gaps", "recovered")}
        for listener in listeners
    ]


async def publish(port, topics, flags, per_second):
    """Publishes to the topics in turn, with each message's number and time; returns the last number of each topic."""
    numbers = dict.fromkeys(topics, 0)
    websocket = await connect(port, lambda _text: None)
    while not flags["publishes"] and not flags["ends"]:
        await asyncio.sleep(0.01)
    start, sent = time.monotonic(), 0
    while flags["publishes"]:
        await asyncio.sleep(0.002)
        while sent < (time.monotonic() - start) * per_second:
            topic = topics[sent % len(topics)]
            numbers[topic] += 1
            sent += 1
            websocket.send_command({"op": "publish", "topic": topic, "data": {"n": numbers[topic], "t": time.monotonic(), "x": FILLING}})
    await websocket.close()
    return numbers


def load(gateway, rule, fast, slow, seconds, per_second):
    """One load under one rule; returns the listeners' results, the accounts, the slow closes and the peak of `outbox_bytes`."""
    topics = [f"{rule}.t{index}" for index in range(TOPICS)]
    flags = Flags()
    flags["drops"] = True
    before = gateway.total("sessions")
    closed_before = gateway.total("sessions_closed_total", reason="slow")
    half = fast // 2
    count = 2 * half + len(slow)
    reached = mmap.mmap(-1, 8 * count)  # by each listener, the sum of the numbers that it has of its topics
    parts = ((["fast"] * half, 0), (["fast"] * half, half), (slow, 2 * half))
    workers = [Worker(listen, gateway.port, topics, flags, kinds, reached, slot) for kinds, slot in parts]
    publisher = Worker(publish, gateway.port, topics, flags, per_second)
    until("all sessions and their subscriptions", lambda: gateway.total("sessions") - before == count + 1 and gateway.total("subscriptions") == count * TOPICS, 30)
    time.sleep(0.5)
    flags["publishes"] = True
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
        stalled = slow.count("stalled")
        if rule == "closing" and flags["drops"] and stalled and gateway.total("sessions_closed_total", reason="slow") - closed_before >= stalled:
            flags["drops"] = slow.count("trickling") > 0 and gateway.total("sessions_closed_total", reason="slow") - closed_before < len(slow)
    flags["publishes"] = False
    numbers = publisher.result(20)
    slow_closed = gateway.total("sessions_closed_total", reason="slow") - closed_before
    peak = gateway.total("outbox_bytes")
    flags["drops"] = False
    total = sum(numbers.values())

    def behind():
        for worker in workers:
            worker.check()
        return sum(sum_reached != total for (sum_reached,) in struct.iter_unpack("<Q", reached))

    until(lambda: f"the newest of each topic at all sessions; {behind()} of {count} lack it", lambda: not behind(), 30)
    accounts = gateway.close_accounts(f"{rule}.>")
    flags["ends"] = True
    results = [listener for worker in workers for listener in worker.result(20)]
    for listener in results:
        assert listener["values"] == numbers, f"a {listener['kind']} session under {rule} ended at {listener['values']}, the newest are {numbers}"
    until("no session is left", lambda: gateway.total("sessions") == before, 10)
    return results, accounts, slow_closed, peak


def p99(results):
    latencies = sorted(latency for listener in results for latency in listener["latencies"])
    return latencies[int(len(latencies) * 0.99)] * 1000


def slow_sessions(long):
    """12 % of the sessions read 1 KiB/s or nothing: conflated, exact gaps, 4004 and recovery, or a replay."""
    count, seconds, per_second = (1000, 20, 30) if long else (100, 5, 150)
    trickling, stalled = count // 10, count // 50
    slow = ["trickling"] * trickling + ["stalled"] * stalled
    fast = count - len(slow)
    figures = []
    with Gateway(rules=RULES, limits=LIMITS) as gateway:
        for rule in ("conflated", "dropping", "closing", "replayed"):
            alone, *_ = load(gateway, rule, fast, [], seconds / 2, per_second)
            results, accounts, closed, peak = load(gateway, rule, fast, slow, seconds, per_second)
            routed, delivered, conflated, dropped, _ = accounts
            before, during = p99(alone), p99(results)
            # A fast session behind a slow one would wait for seconds; a shorter delay may be the machine's. The latency proves
            # nothing if the listeners can't keep up even without slow sessions, or without --long.
            assert not long or before > 200 or during <= max(5 * before, 2000), f"p99 of the fast sessions under {rule}: {before:.1f} ms alone, {during:.1f} ms beside slow ones"
            assert peak <= len(slow) * 20_000, f"{peak} bytes are in the outboxes of {len(slow)} slow sessions of 16 KiB each"
            skipped, in_gaps = sum(one["skipped"] for one in results), sum(one["in_gaps"] for one in results)
            if rule == "conflated":
                assert conflated == skipped > 0 and dropped == 0, f"{skipped} offsets were skipped, {conflated} conflated, {dropped} dropped"
                outcome = f"{conflated} conflated"
            elif rule == "dropping":
                assert dropped == in_gaps > 0 and conflated == 0, f"gaps named {in_gaps} offsets, {dropped} were dropped, {conflated} conflated"
                outcome = f"{dropped} dropped and named in gaps"
            elif rule == "replayed":
                assert dropped == conflated == closed == in_gaps == skipped == 0 and routed == delivered, f"{accounts}, {closed} closed, {in_gaps} in gaps"
                outcome = f"{routed} delivered to all, {peak} bytes queued at most"
            else:
                outcome = check_closed(results, closed, slow, long)
            figures.append(f"{rule}: {routed} routed, {outcome}, p99 {before:.1f} → {during:.1f} ms ({during / before:.2f} ×)")
    return f"{fast} fast and {len(slow)} slow sessions; " + "; ".join(figures)


def check_closed(results, closed, slow, long):
    assert closed == len(slow), f"{closed} sessions were closed as slow, {len(slow)} are"
    codes = [(one["kind"], one["codes"]) for one in results if one["codes"]]
    # A session that resumes reading within 2 s of its Close sees 4004; on a busy machine not all of them do.
    assert not long or [4004] in [found for kind, found in codes if kind == "stalled"], f"no stalled session saw 4004: {codes}"
    assert all(kind != "fast" and found in ([4004], [1006]) for kind, found in codes), f"sessions were closed with {codes}"
    recovered = sum(one["recovered"] for one in results)
    assert recovered == len(slow) * TOPICS, f"{recovered} topics were recovered, not {len(slow) * TOPICS}"
    return f"{closed} closed with 4004, {recovered} topics recovered"
