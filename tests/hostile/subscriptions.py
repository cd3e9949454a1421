"""Subscribes whose work could be the product of two numbers that a client chooses."""

import itertools
import json
import time

from client import Session, command_frame, read_all
from outcome import Outcome
from stage import Gateway, measured, populate
from websocket import frame


def matching_patterns(count, tokens, first="chat"):
    """`count` patterns that all match `chat` followed by `tokens` tokens `a`."""
    tails = itertools.islice(itertools.product("*a", repeat=tokens), count + 1)
    return [".".join((first, *tail)) for tail in tails if "*" in tail][:count]


def replaced_options():
    """1,000 wildcard subscriptions with `interval_ms`, messages of 250 topics, and the same `subscribe` again."""
    outcome = Outcome()
    with Gateway() as gateway:
        topics = [f"chat.room.r{number}" for number in range(250)]
        patterns = ["chat.room.*"] + [f"chat.*.x{number}" for number in range(999)]
        session = Session(gateway)
        first = session.ask(op="subscribe", topics=patterns, interval_ms=60_000)
        outcome.equal("subscribed", first["op"], "subscribed")
        populate(gateway, topics, "data")
        received = sum(1 for _ in range(250) if session.receive_event(lambda event: event["op"] == "message"))
        outcome.equal("messages", received, 250)

        def subscribe_again(gateway):
            started = time.monotonic()
            try:
                answer = session.ask_until_done(8, op="subscribe", topics=patterns, interval_ms=60_000)
            except TimeoutError:
                answer = {"op": "none within 8 s"}
            return answer["op"], time.monotonic() - started

        (op, took), witness, used = measured(gateway, subscribe_again, seconds=15)
        outcome.equal("the answer", op, "subscribed")
        outcome.at_most("its seconds", took, 4.0, timed=True)
        outcome.at_most("CPU seconds", used, 2.0, timed=True)
    outcome.check_witness(witness)
    return outcome


def many_matches():
    """One `subscribe` with 1,000 patterns, each of which matches 20,000 topics."""
    outcome = Outcome()
    with Gateway() as gateway:
        tail = ".".join("a" * 11)
        named = [Session(gateway) for _ in range(20)]
        for index, session in enumerate(named):
            answer = session.ask(op="subscribe", topics=[f"chat.t{index}x{number}.{tail}" for number in range(1000)])
            assert answer["op"] == "subscribed", f"the subscribe was answered {answer}"
        patterns = [pattern.replace("chat.", "chat.*.") for pattern in matching_patterns(1000, 11)]

        def subscribe(gateway):
            codes = []
            with Session(gateway) as session:
                try:
                    session.ask(8, op="subscribe", topics=patterns)
                except TimeoutError:
                    return ["no answer within 8 s"]
                codes += [session.ask(id=number, op="ping").get("code", "pong") for number in range(2, 12)]
            return codes

        codes, witness, used = measured(gateway, subscribe)
        outcome.at_most("CPU seconds", used, 2.0, timed=True)
        outcome.report("the next ten commands", codes)
    outcome.check_witness(witness)
    return outcome


def many_patterns():
    """2^15 patterns of `a` and `*`; then publishes that match all of them, and 1,000 new names."""
    outcome = Outcome()
    with Gateway() as gateway:
        patterns = matching_patterns((1 << 15) - 1, 15)
        holders = [Session(gateway) for _ in range(33)]
        accepted = 0
        for index, session in enumerate(holders):
            answer = session.ask(op="subscribe", topics=patterns[index::33])
            accepted += len(answer.get("topics", ()))
        outcome.report("accepted patterns", accepted)
        topic = ".".join(("chat", *"a" * 15))

        def publish(gateway):
            with Session(gateway) as session:
                for number in range(150):
                    session.send_command(op="publish", topic=topic, data=number)
                last = session.ask(op="publish", id=2, topic=topic, data="last")
                names = [topic[:-1] + f"n{number}" for number in range(1000)]
                subscribed = session.ask_until_done(op="subscribe", id=3, topics=names)
            return last["op"], subscribed["op"]

        answers, witness, used = measured(gateway, publish, seconds=40)
        outcome.equal("answers", answers, ("published", "subscribed"))
        outcome.at_most("CPU seconds", used, 2.0, timed=True)
    outcome.check_witness(witness)
    return outcome


def much_since():
    """Repeated subscribes with `since` of 1,150 topics beside 1,000 subscriptions."""
    outcome = Outcome()
    with Gateway() as gateway:
        since = {f"chat.q.n{number}": {"epoch": "aaaaaa", "offset": 1} for number in range(1150)}
        before = [f"chat.x.o{number}.*" for number in range(998)]

        def subscribe(gateway):
            answers = 0
            sessions = [Session(gateway) for _ in range(3)]
            for session in sessions:
                assert session.ask(op="subscribe", topics=before)["op"] == "subscribed"
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                for session in sessions:
                    session.send_command(op="subscribe", id=2, topics=["chat.q.*", "chat.q.>"], since=since)
                    session.send_command(op="unsubscribe", id=3, topics=["chat.q.*", "chat.q.>"])
                for session in sessions:
                    session.receive_event(lambda event: event.get("id") == 3)
                    session.events.clear()
                    answers += 1
                time.sleep(0.05)
            return answers

        answers, witness, used = measured(gateway, subscribe, seconds=60)
        outcome.at_least("answers", answers, 3)
        outcome.at_most("CPU milliseconds for each", used * 1000 / answers, 50.0, timed=True)
    outcome.check_witness(witness)
    return outcome


def small_subscribes():
    """200 sessions each send 62 small subscribes at the same time, within their bursts."""
    outcome = Outcome()
    with Gateway() as gateway:
        names = [[f"chat.r{16 * command + number}" for number in range(16)] for command in range(62)]
        burst = b"".join(command_frame(op="subscribe", topics=topics, last=0) for topics in names)
        sessions = [Session(gateway) for _ in range(200)]

        def subscribe(gateway):
            for session in sessions:
                session.send(burst)
            return {session.ask(op="ping", id=7)["op"] for session in sessions}

        answers, witness, used = measured(gateway, subscribe, seconds=60)
        outcome.equal("answers", answers, {"pong"})
        outcome.at_least("subscriptions", gateway.total("subscriptions"), 198_400)
        outcome.at_most("CPU seconds", used, 6.0, timed=True)
    outcome.check_witness(witness)
    return outcome


def subscribe_at_once(gateway, sessions, burst, subscriptions):
    """Each session sends `burst` at the same time, which makes `subscriptions` in all; returns the outcome."""
    outcome = Outcome()

    def subscribe(gateway):
        for session in sessions:
            session.send(burst)
        deadline = time.monotonic() + 30
        read_all(sessions, lambda: time.monotonic() > deadline or gateway.total("subscriptions") >= subscriptions)

    _, witness, used = measured(gateway, subscribe, seconds=60)
    outcome.at_least("subscriptions", gateway.total("subscriptions"), subscriptions)
    outcome.at_most("CPU seconds", used, 6.0, timed=True)
    outcome.check_witness(witness)
    return outcome


def long_subscribes():
    """200 sessions each subscribe to 1,000 names in one command, at the same time."""
    with Gateway() as gateway:
        burst = command_frame(op="subscribe", id=1, topics=[f"chat.r{number}" for number in range(1000)])
        return subscribe_at_once(gateway, [Session(gateway) for _ in range(200)], burst, 200_000)


def returning_sdks():
    """100 sessions of Centrifugo's protocol each subscribe to 1,000 channels in one frame."""
    with Gateway() as gateway:
        commands = [{"id": 2 + number, "subscribe": {"channel": f"chat.r{number}"}} for number in range(1000)]
        burst = frame(1, b"\n".join(json.dumps(command, separators=(",", ":")).encode() for command in commands))
        sessions = [Session(gateway, "/connection/websocket") for _ in range(100)]
        for session in sessions:
            session.send(frame(1, b'{"id":1,"connect":{}}'))
            session.receive()
        return subscribe_at_once(gateway, sessions, burst, 100_000)
