"""Sessions during an attack: one publishes at a steady rate, and all measure each message's latency."""

import gc
import json
import select
import ssl
import time

from client import Closed, Session
from worker import Worker, Flags
from process import until

TOPIC = "chat.witness"
# Enough for a session in each shard: a connection goes to the shard with the fewest.
SESSIONS = 4
PER_SECOND = 50
# The bound of the p99 is 5 ms, or on a slow machine twice the p99 before the attack. Where other programs use the CPUs, it
# is as many times the mean time for which a shard has waited for a CPU; on an idle machine that is 0.1 ms.
BOUND_SECONDS = 0.005
CPU_WAITS = 10
WINDOWS = 5
QUIET_SECONDS = 1.5
# The bound of a single message's latency, which no machine's load explains.
WORST_SECONDS = 0.5
# The deadline of late messages after the end of the attack.
SECONDS_AT_END = 8


class Witness:
    """Runs in a `with` block: first the quiet time, then the attack until `stop`; `figures` has the latencies of both."""

    def __init__(self, gateway, seconds=QUIET_SECONDS):
        self.gateway, self.quiet_seconds = gateway, seconds
        self.flags, self.started, self.ended = Flags(), None, None
        self.waits, self.cpu_wait = {}, 0

    def __enter__(self):
        self.worker = Worker(witness, self.gateway, self.flags)
        until("the witness is subscribed", lambda: self.gateway.total("subscriptions") >= SESSIONS, 10)
        time.sleep(0.3)
        self.quiet_started = time.monotonic()
        time.sleep(self.quiet_seconds)
        self.restart()
        return self

    def restart(self):
        """The attack begins here; what happened before was preparation."""
        self.started, self.waits = time.monotonic(), self.gateway.cpu_waits()

    def stop(self):
        """The attack ends here. Notes the mean time for which a shard waited for each time slice, in the shard that waited longest."""
        self.ended = time.monotonic()
        for thread, (seconds, slices) in self.gateway.cpu_waits().items():
            seconds_before, slices_before = self.waits.get(thread, (0, 0))
            if slices > slices_before:
                self.cpu_wait = max(self.cpu_wait, (seconds - seconds_before) / (slices - slices_before))

    def __exit__(self, kind, *_):
        if self.ended is None:
            self.stop()
        self.flags["ends"] = True
        if kind is not None:
            self.worker.process.kill()
            return
        try:
            self.samples, self.error = self.worker.result(10)
        except AssertionError as failure:
            self.samples, self.error = [], str(failure)

    def figures(self):
        """Quiet p99, p99 in the median window of the attack, and the longest latency of the attack, in seconds."""
        samples = self.samples
        quiet = [took for at, took in samples if self.quiet_started <= at < self.quiet_started + self.quiet_seconds]
        window = (self.ended - self.started) / WINDOWS
        windows = [[took for at, took in samples if 0 <= at - self.started - index * window < window] for index in range(WINDOWS)]
        p99s = sorted(p99(window) for window in windows if window)
        worst = max((took for at, took in samples if self.started <= at < self.ended), default=0)
        return p99(quiet), p99s[len(p99s) // 2] if p99s else 0, worst


def p99(took):
    return sorted(took)[int(len(took) * 0.99)] if took else 0


def witness(gateway, flags):
    """Publishes on one session, and receives on all.

    Returns (sent at, took) for each message and session, lost ones included, and the error if there was one.
    """
    gc.disable()
    sessions = [OrderedSession(gateway, address="127.0.0.1") for _ in range(SESSIONS)]
    for session in sessions:
        answer = session.ask(op="subscribe", topics=[TOPIC], last=0)
        assert answer["op"] == "subscribed", f"the witness got {answer}"
    sent, samples, error = [], [], None
    try:
        listen(sessions, flags, sent, samples)
    except (AssertionError, Closed) as failure:
        error = str(failure)
    missed = [sent_at for session in sessions for sent_at in sent[session.number :]]
    if missed and not error:
        error = f"{len(missed)} of {SESSIONS * len(sent)} messages did not arrive within {SECONDS_AT_END} s"
    samples += [(sent_at, time.monotonic() - sent_at) for sent_at in missed]
    return samples, error


class OrderedSession(Session):
    """A session that checks the order of its messages."""

    number = 0

    def receive_available(self, samples):
        """Handles the received events without blocking."""
        try:
            while True:
                self.fill()
                while self.has_frame():
                    self.check_event(json.loads(self.receive()), samples)
        except (BlockingIOError, ssl.SSLWantReadError):
            return

    def check_event(self, event, samples):
        if event["op"] in ("welcome", "join", "leave"):
            return
        assert event["op"] == "message", f"the witness got {event}"
        self.number += 1
        number, sent_at = event["data"]["n"], event["data"]["t"]
        assert number == self.number, f"the witness got message {number}, expected {self.number}"
        samples.append((sent_at, time.monotonic() - sent_at))

    def has_frame(self):
        if len(self.held) < 2:
            return False
        length, head = self.held[1], 2
        if length >= 126:
            head = 4 if length == 126 else 10
            length = int.from_bytes(self.held[2:head], "big")
        return len(self.held) >= head + length


def listen(sessions, flags, sent, samples):
    """Publishes at the rate, with the times in `sent`; appends the latency of each received message to `samples`."""
    poll, due, deadline = select.epoll(), time.monotonic(), None
    by_descriptor = {session.socket.fileno(): session for session in sessions}
    for descriptor, session in by_descriptor.items():
        poll.register(descriptor, select.EPOLLIN)
        session.socket.settimeout(0)
    while True:
        now = time.monotonic()
        if flags["ends"]:
            deadline = deadline or now + SECONDS_AT_END
            if len(samples) == len(sessions) * len(sent) or now > deadline:
                return
        elif now >= due:
            sent.append(now)
            due = max(due + 1 / PER_SECOND, now - 0.5)
            sessions[0].send_command(op="publish", topic=TOPIC, data={"n": len(sent), "t": now})
        for descriptor, _ in poll.poll(0.05 if deadline else max(0, due - time.monotonic())):
            by_descriptor[descriptor].receive_available(samples)
