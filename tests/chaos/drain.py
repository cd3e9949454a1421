"""Reloads and drains: fifty SIGHUPs lose no message, and SIGTERM closes all sessions, spread over the drain."""

import asyncio
import json
import random
import signal
import threading
import time

from client_process import PublishCounts, subscribers_of, mixed_subscriptions, publishers_of
from worker import Worker, Flags
from gateway import Gateway
from ledger import Ledger
from process import until
from recovery import KEPT, settle
from websocket import connect

PARTS = 10
# How many seconds a slow machine may be late, without --long.
SLACK = 5


def reloads(long):
    """Fifty SIGHUPs under load, each with other limits and rules: no session is closed, and no message lost."""
    count, pause = (200, 0.4) if long else (100, 0.08)
    topics, subscriptions = mixed_subscriptions(count, 5, 4, seed=9)
    ledger, counts, flags = Ledger(count, topics), PublishCounts(5), Flags()
    with Gateway(rules=KEPT) as gateway:
        clients = subscribers_of(flags, ledger, subscriptions, [gateway.port], 2)
        publishers = publishers_of(flags, counts, topics, gateway.port, 300)
        flags["publishes"] = True
        until("all are subscribed", lambda: all(ledger.subscribed_at(index) for index in range(count)), 20)
        written = gateway.config.read_text()
        for number in range(50):
            changed = written.replace("[limits]", f"[limits]\nping_interval = \"{20 + number}s\"").replace("history = 1000000", f"history = {1000000 - number}")
            # Each fifth file is invalid, and must change nothing.
            gateway.reload(changed if number % 5 else changed + "nonsense = 1\n[limits\n")
            time.sleep(pause)
        flags["publishes"] = False
        settle(gateway, ledger, counts, subscriptions, exact=True)
        opened, closed = gateway.total("sessions_opened_total"), gateway.total("sessions_closed_total")
        assert closed == 0, f"{closed} of {opened} sessions were closed by reloads"
        welcome = Worker(read_welcome, gateway.port).result(10)
        assert welcome["ping_interval_ms"] == 69_000, f"the last file does not apply: {welcome}"
        flags["ends"] = True
        for client in [*clients, publishers]:
            client.end()
        gateway.close_accounts(">")
        return f"50 SIGHUPs under {counts.totals()[0]} messages: {ledger.received()} received, {closed} of {opened} sessions closed"


async def read_welcome(port):
    first_event = asyncio.get_running_loop().create_future()
    websocket = await connect(port, lambda text: first_event.done() or first_event.set_result(json.loads(text)))
    welcome = await asyncio.wait_for(first_event, 5)
    await websocket.close()
    return welcome


class DrainedSession:
    """One session through a drain: its `draining` event, its newest offsets, and its Close."""

    def __init__(self):
        self.offsets, self.retry_after = {}, None
        self.draining_at = self.closed_at = self.code = None

    async def run(self, port, topics):
        websocket = await connect(port, self.receive)
        websocket.send_command({"op": "subscribe", "id": 1, "topics": topics})
        self.code = await websocket.closed
        self.closed_at = time.monotonic()

    def receive(self, text):
        event = json.loads(text)
        if event["op"] == "message":
            before = self.offsets.get(event["topic"])
            assert before is None or event["offset"] == before + 1, f"offset {event['offset']} of {event['topic']} after {before}"
            self.offsets[event["topic"]] = event["offset"]
        elif event["op"] == "draining":
            assert self.retry_after is None, "a session got two draining events"
            self.retry_after, self.draining_at = event["retry_after_ms"] / 1000, time.monotonic()

    def report(self):
        return self.draining_at, self.retry_after, self.closed_at, self.code, sum(self.offsets.values())


async def run_sessions(port, count, topics):
    sessions = [DrainedSession() for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        for session in sessions:
            group.create_task(session.run(port, topics))
    return [session.report() for session in sessions]


async def publish_until_closed(port, topics, per_second):
    """Publishes until the session is closed; returns its code, and how many publishes were sent, acknowledged and refused."""
    received = {"published": 0, "error": 0}

    def receive(text):
        op = json.loads(text)["op"]
        received[op] = received.get(op, 0) + 1

    websocket = await connect(port, receive)
    sent = 0
    while not websocket.closed.done():
        await asyncio.sleep(1 / per_second)
        sent += 1
        websocket.send_command({"op": "publish", "id": sent, "topic": random.choice(topics), "data": sent})
    return websocket.code, sent, received["published"], received["error"]


def terminated(long):
    """SIGTERM under load: /readyz is 503, all sessions get `draining` and 1001, spread over the drain; exit status 0."""
    count, drain, slack = (1000, 10.0, 1) if long else (300, 4.0, SLACK)
    topics = [f"room.t{index}" for index in range(4)]
    with Gateway(rules=KEPT, drain=f"{drain:.0f}s") as gateway:
        workers = [Worker(run_sessions, gateway.port, count // 2, topics) for _ in range(2)]
        publishers = [Worker(publish_until_closed, gateway.port, topics, 30) for _ in range(2)]
        until("all are subscribed", lambda: gateway.total("subscriptions") == count * len(topics) and gateway.total("sessions") == count + 2, 20)
        time.sleep(0.5)
        assert gateway.status("/readyz") == 200
        answers, ended = [], threading.Event()
        poller = threading.Thread(target=poll_readiness, args=(gateway, answers, ended))
        poller.start()
        started = time.monotonic()
        gateway.signal(signal.SIGTERM)
        reports = [report for worker in workers for report in worker.result(drain + 15)]
        publish_reports = [publisher.result(10) for publisher in publishers]
        status = gateway.process.wait(drain + 10)
        took = time.monotonic() - started
        ended.set()
        poller.join()
        assert status == 0, f"the exit status is {status}"
        assert took <= drain + 2 * slack, f"the gateway ended after {took:.1f} s, drain is {drain} s"
        share = check_reports(reports, started, drain, slack)
        unready = [at for at, code in answers if code == 503]
        assert unready and unready[0] - started < slack, f"/readyz answered {[code for _, code in answers[:5]]} as the drain began"
        assert all(code in (503, 0) for at, code in answers if at > unready[0]), "/readyz became ready again in the drain"
        for code, sent, published, errors in publish_reports:
            assert code == 1001 and errors == 0, f"a publisher was closed with {code} after {errors} errors"
            assert sent - published <= 30 * slack, f"{sent - published} of {sent} publishes were not answered before 1001"
        return f"{count} sessions drained in {took:.1f} of {drain:.0f} s, fullest tenth {share:.2f} × its share, /readyz 503 after {unready[0] - started:.2f} s"


def poll_readiness(gateway, answers, ended):
    while not ended.wait(0.05):
        code = gateway.status("/readyz")
        answers.append((time.monotonic(), code))


def check_reports(reports, started, drain, slack):
    buckets = [0] * PARTS
    for draining_at, retry_after, closed_at, code, _ in reports:
        assert draining_at is not None, "a session was closed without a draining event"
        assert code == 1001, f"a session was closed with {code}"
        warned_after, closed_after = draining_at - started, closed_at - started
        assert warned_after < slack, f"a session got draining {warned_after:.1f} s after the signal"
        assert warned_after <= closed_after <= drain + slack, f"a session was closed {closed_after:.1f} s after the signal, drain is {drain} s"
        # Each session's moment to return lies between one and two drains after the event.
        assert drain - slack / 2 <= retry_after <= 2 * drain + 0.1, f"retry_after_ms is {retry_after * 1000:.0f}, drain is {drain} s"
        buckets[min(PARTS - 1, int(closed_after / drain * PARTS))] += 1
    even = len(reports) / PARTS
    assert slack > 1 or max(buckets) <= 2 * even + 4, f"the Closes are not spread: {buckets} in tenths of the drain"
    spread = sorted(retry for _, retry, *_ in reports)
    assert spread[len(spread) * 9 // 10] - spread[len(spread) // 10] > drain / 2, "retry_after_ms is not spread"
    # Messages are delivered until each session's 1001.
    late = [received for *_, closed_at, _, received in reports if closed_at - started > drain / 2]
    assert late and min(late) > 0, "nothing was delivered while the gateway drained"
    return max(buckets) / even
