"""Well-behaved sessions beside an attack: one publishes at a steady rate, and all measure how long each message takes."""

import gc
import json
import select
import ssl
import time

from client import Closed, Session
from worker import Worker, Flags
from process import until

TOPIC = "chat.witness"
# Enough for each shard to have one: a connection goes to the shard that has the fewest.
SESSIONS = 4
PER_SECOND = 50
# 5 ms is what the promise says; where the machine itself does not keep it, twice the time that was taken without an attack.
BOUND_SECONDS = 0.005
WINDOWS = 5
QUIET_SECONDS = 1.5
# What no machine explains: nobody may be held up for that long, not even once.
WORST_SECONDS = 0.5
# How long messages may be under way once the attack is over.
PATIENCE_AT_END = 8


class Witness:
    """Runs from the `with` on; `quiet` and `beside` note when, and `figures` tells what it saw then."""

    def __init__(self, gateway, seconds=QUIET_SECONDS):
        self.gateway, self.quiet_seconds = gateway, seconds
        self.flags, self.began, self.ended = Flags(), None, None

    def __enter__(self):
        self.worker = Worker(witness, self.gateway, self.flags)
        until("the witness is there", lambda: self.gateway.total("subscriptions") >= SESSIONS, 10)
        time.sleep(0.3)
        self.quiet_began = time.monotonic()
        time.sleep(self.quiet_seconds)
        self.began = time.monotonic()
        return self

    def restart(self):
        """What happened so far was preparation; the attack begins here."""
        self.began = time.monotonic()

    def stop(self):
        """The attack ends here."""
        self.ended = time.monotonic()

    def __exit__(self, kind, *_):
        if self.ended is None:
            self.stop()
        self.flags["ends"] = True
        if kind is not None:
            self.worker.process.kill()
            return
        try:
            self.samples, self.trouble = self.worker.result(10)
        except AssertionError as error:
            self.samples, self.trouble = [], str(error)

    def figures(self):
        """Quiet p99, p99 in the median window of the attack, and the longest of all, in seconds."""
        samples = self.samples
        quiet = [took for at, took in samples if self.quiet_began <= at < self.quiet_began + self.quiet_seconds]
        window = (self.ended - self.began) / WINDOWS
        windows = [[took for at, took in samples if 0 <= at - self.began - index * window < window] for index in range(WINDOWS)]
        p99s = sorted(p99(window) for window in windows if window)
        worst = max((took for at, took in samples if self.began <= at < self.ended), default=0)
        return p99(quiet), p99s[len(p99s) // 2] if p99s else 0, worst


def p99(took):
    return sorted(took)[int(len(took) * 0.99)] if took else 0


def witness(gateway, flags):
    """Publishes on one session and hears all.

    Answers (sent at, took) of each message and session, what never came included, and what went wrong.
    """
    gc.disable()
    sessions = [OrderedSession(gateway, address="127.0.0.1") for _ in range(SESSIONS)]
    for session in sessions:
        answer = session.ask(op="subscribe", topics=[TOPIC], last=0)
        assert answer["op"] == "subscribed", f"the witness was told {answer}"
    sent, samples, trouble = [], [], None
    try:
        listen(sessions, flags, sent, samples)
    except (AssertionError, Closed) as error:
        trouble = str(error)
    missed = [sent_at for session in sessions for sent_at in sent[session.number :]]
    if missed and not trouble:
        trouble = f"{len(missed)} of {SESSIONS * len(sent)} messages did not come within {PATIENCE_AT_END} s"
    samples += [(sent_at, time.monotonic() - sent_at) for sent_at in missed]
    return samples, trouble


class OrderedSession(Session):
    """A session that takes its messages in order."""

    number = 0

    def take(self, samples):
        """Takes what has come, and waits for nothing."""
        try:
            while True:
                self.fill()
                while self.has_frame():
                    self.take_event(json.loads(self.receive()), samples)
        except (BlockingIOError, ssl.SSLWantReadError):
            return

    def take_event(self, event, samples):
        if event["op"] in ("welcome", "join", "leave"):
            return
        assert event["op"] == "message", f"it was told {event}"
        self.number += 1
        number, sent_at = event["data"]["n"], event["data"]["t"]
        assert number == self.number, f"it heard message {number} where {self.number} was next"
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
    """One message after the other at its time, noted in `sent`; what `sessions` hear goes into `samples`."""
    poll, due, deadline = select.epoll(), time.monotonic(), None
    by_descriptor = {session.socket.fileno(): session for session in sessions}
    for descriptor, session in by_descriptor.items():
        poll.register(descriptor, select.EPOLLIN)
        session.socket.settimeout(0)
    while True:
        now = time.monotonic()
        if flags["ends"]:
            deadline = deadline or now + PATIENCE_AT_END
            if len(samples) == len(sessions) * len(sent) or now > deadline:
                return
        elif now >= due:
            sent.append(now)
            due = max(due + 1 / PER_SECOND, now - 0.5)
            sessions[0].say(op="publish", topic=TOPIC, data={"n": len(sent), "t": now})
        for descriptor, _ in poll.poll(0.05 if deadline else max(0, due - time.monotonic())):
            by_descriptor[descriptor].take(samples)
