"""Reloads and the end: fifty SIGHUPs lose nothing, and SIGTERM sends everybody away in good order."""

import asyncio
import json
import random
import signal
import threading
import time

from crew import Books, crews_of, mixed_wishes, publishers_of
from errand import Errand, Flags
from gateway import Gateway
from ledger import Ledger
from process import until
from recovery import KEPT, settle
from websocket import connect

PARTS = 10
# How far from the contract's times a slow machine's clocks may be, without --long.
SLACK = 5


def reloads(long):
    """Fifty SIGHUPs under load, the limits and rules another each time: no session is lost, and no message."""
    count, pause = (200, 0.4) if long else (100, 0.08)
    topics, wishes = mixed_wishes(count, 5, 4, seed=9)
    ledger, books, flags = Ledger(count, topics), Books(5), Flags()
    with Gateway(rules=KEPT) as gateway:
        crews = crews_of(flags, ledger, wishes, [gateway.port], 2)
        publishers = publishers_of(flags, books, topics, gateway.port, 300)
        flags["publishes"] = True
        until("all are subscribed", lambda: all(ledger.seated_at(index) for index in range(count)), 20)
        written = gateway.config.read_text()
        for number in range(50):
            changed = written.replace("[limits]", f"[limits]\nping_interval = \"{20 + number}s\"").replace("history = 1000000", f"history = {1000000 - number}")
            # Each fifth file is a bad one, which must change nothing.
            gateway.reload(changed if number % 5 else changed + "nonsense = 1\n[limits\n")
            time.sleep(pause)
        flags["publishes"] = False
        settle(gateway, ledger, books, wishes, exact=True)
        opened, closed = gateway.total("sessions_opened_total"), gateway.total("sessions_closed_total")
        assert closed == 0, f"{closed} of {opened} sessions were closed by reloads"
        welcome = Errand(hear_welcome, gateway.port).answer(10)
        assert welcome["ping_interval_ms"] == 69_000, f"the last file is not in force: {welcome}"
        flags["ends"] = True
        for crew in [*crews, publishers]:
            crew.end()
        gateway.close_accounts(">")
        return f"50 SIGHUPs under {books.totals()[0]} messages: {ledger.received()} received, {closed} of {opened} sessions closed"


async def hear_welcome(port):
    heard = asyncio.get_running_loop().create_future()
    websocket = await connect(port, lambda text: heard.done() or heard.set_result(json.loads(text)))
    welcome = await asyncio.wait_for(heard, 5)
    await websocket.close()
    return welcome


class Leaver:
    """One session that is told to leave: what it was told, what it then still got, and how it ended."""

    def __init__(self):
        self.offsets, self.retry_after = {}, None
        self.draining_at = self.closed_at = self.code = None

    async def live(self, port, topics):
        websocket = await connect(port, self.hear)
        websocket.say({"op": "subscribe", "id": 1, "topics": topics})
        self.code = await websocket.closed
        self.closed_at = time.monotonic()

    def hear(self, text):
        event = json.loads(text)
        if event["op"] == "message":
            before = self.offsets.get(event["topic"])
            assert before is None or event["offset"] == before + 1, f"offset {event['offset']} of {event['topic']} after {before}"
            self.offsets[event["topic"]] = event["offset"]
        elif event["op"] == "draining":
            assert self.retry_after is None, "a session was told twice that the gateway drains"
            self.retry_after, self.draining_at = event["retry_after_ms"] / 1000, time.monotonic()

    def report(self):
        return self.draining_at, self.retry_after, self.closed_at, self.code, sum(self.offsets.values())


async def leave(port, count, topics):
    leavers = [Leaver() for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        for leaver in leavers:
            group.create_task(leaver.live(port, topics))
    return [leaver.report() for leaver in leavers]


async def publish_to_the_end(port, topics, per_second):
    """Publishes with acknowledgements until it is sent away; answers how many were sent and how many acknowledged before."""
    seen = {"published": 0, "error": 0}

    def hear(text):
        op = json.loads(text)["op"]
        seen[op] = seen.get(op, 0) + 1

    websocket = await connect(port, hear)
    sent = 0
    while not websocket.closed.done():
        await asyncio.sleep(1 / per_second)
        sent += 1
        websocket.say({"op": "publish", "id": sent, "topic": random.choice(topics), "data": sent})
    return websocket.code, sent, seen["published"], seen["error"]


def ended(long):
    """SIGTERM under load: draining to all, 1001 spread over the drain, /readyz first, status 0 in time."""
    count, drain, slack = (1000, 10.0, 1) if long else (300, 4.0, SLACK)
    topics = [f"room.t{index}" for index in range(4)]
    with Gateway(rules=KEPT, drain=f"{drain:.0f}s") as gateway:
        leavers = [Errand(leave, gateway.port, count // 2, topics) for _ in range(2)]
        publishers = [Errand(publish_to_the_end, gateway.port, topics, 30) for _ in range(2)]
        until("all are there", lambda: gateway.total("subscriptions") == count * len(topics) and gateway.total("sessions") == count + 2, 20)
        time.sleep(0.5)
        assert gateway.status("/readyz") == 200
        answers, over = [], threading.Event()
        asking = threading.Thread(target=ask_readiness, args=(gateway, answers, over))
        asking.start()
        begun = time.monotonic()
        gateway.signal(signal.SIGTERM)
        reports = [report for leaver in leavers for report in leaver.answer(drain + 15)]
        senders = [publisher.answer(10) for publisher in publishers]
        status = gateway.process.wait(drain + 10)
        took = time.monotonic() - begun
        over.set()
        asking.join()
        assert status == 0, f"the exit status is {status}"
        assert took <= drain + 2 * slack, f"it took {took:.1f} s to end, drain is {drain} s"
        share = check_reports(reports, begun, drain, slack)
        unready = [at for at, code in answers if code == 503]
        assert unready and unready[0] - begun < slack, f"/readyz answered {[code for _, code in answers[:5]]} as the drain began"
        assert all(code in (503, 0) for at, code in answers if at > unready[0]), "/readyz became ready again in the drain"
        for code, sent, published, errors in senders:
            assert code == 1001 and errors == 0, f"a publisher was closed with {code} after {errors} errors"
            assert sent - published <= 30 * slack, f"{sent - published} of {sent} publishes were not answered before 1001"
        return f"{count} sessions drained in {took:.1f} of {drain:.0f} s, fullest tenth {share:.2f} × its share, /readyz 503 after {unready[0] - begun:.2f} s"


def ask_readiness(gateway, answers, over):
    while not over.wait(0.05):
        code = gateway.status("/readyz")
        answers.append((time.monotonic(), code))


def check_reports(reports, begun, drain, slack):
    buckets = [0] * PARTS
    for draining_at, retry_after, closed_at, code, _ in reports:
        assert draining_at is not None, "a session was closed without having been told that the gateway drains"
        assert code == 1001, f"a session was closed with {code}"
        told, left = draining_at - begun, closed_at - begun
        assert told < slack, f"a session was told {told:.1f} s after the signal"
        assert told <= left <= drain + slack, f"a session was closed {left:.1f} s after the signal, drain is {drain} s"
        # Its own moment: after the drain's end, and not later than one more drain.
        assert drain - slack / 2 <= retry_after <= 2 * drain + 0.1, f"retry_after_ms is {retry_after * 1000:.0f}, drain is {drain} s"
        buckets[min(PARTS - 1, int(left / drain * PARTS))] += 1
    even = len(reports) / PARTS
    assert slack > 1 or max(buckets) <= 2 * even + 4, f"sessions leave in crowds: {buckets} in tenths of the drain"
    spread = sorted(retry for _, retry, *_ in reports)
    assert spread[len(spread) * 9 // 10] - spread[len(spread) // 10] > drain / 2, "the moments to come back are not spread"
    # Whoever left later got at least as much: messages go on until 1001.
    late = [received for *_, closed_at, _, received in reports if closed_at - begun > drain / 2]
    assert late and min(late) > 0, "nothing was delivered while the gateway drained"
    return max(buckets) / even
