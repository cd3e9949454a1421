"""What one address may take of the things that all share: topics, places of those who connect, descriptors."""

import json
import time

from client import ADDRESS, Closed, Refused, Session, dial, exchange, is_closed, other_address
from outcome import Outcome
from stage import Gateway, measured

OTHER = other_address(1)


def let_in(gateway, address=OTHER):
    """Whether somebody of another address gets an answer and a session, and in what time."""
    began = time.monotonic()
    try:
        status, _ = gateway.request("GET", "/healthz", address=address)
        with Session(gateway, address=address) as session:
            session.socket.settimeout(5)
            return status == 200 and session.ask(op="ping")["op"] == "pong", time.monotonic() - began
    except (OSError, Closed, Refused):
        return False, time.monotonic() - began


def all_topics():
    """Row 8: one address names 120,000 topics; then it publishes to new ones."""
    outcome = Outcome()
    with Gateway() as gateway:
        gateway.publish_batch([("chat.kept", "kept")], OTHER)

        def take(gateway):
            codes = {}
            sessions = [Session(gateway) for _ in range(120)]
            for index, session in enumerate(sessions):
                answer = session.ask(op="subscribe", topics=[f"chat.s{index}.t{number}" for number in range(1000)])
                code = answer.get("code") or answer["op"]
                codes[code] = codes.get(code, 0) + 1
            refused = 0
            for index, session in enumerate(sessions[:20]):
                for number in range(10):
                    refused += session.ask(id=number, op="publish", topic=f"chat.p{index}.t{number}", data=0).get("code") == "rate_limited"
            return codes, refused

        (codes, refused), witness, used = measured(gateway, take, seconds=60)
        outcome.note("subscribes of 1,000", str(codes), True)
        outcome.at_most("topics", gateway.total("topics"), 100_100)
        outcome.at_least("of 200 publishes to new topics, refused", refused, 200)
        outcome.at_least("limit_hits_total{topics_per_address}", gateway.total("limit_hits_total", limit="topics_per_address"), 1)
        status, body = gateway.request("GET", "/v1/topics/chat.kept/history", address=OTHER)
        outcome.true("another's history is there", status == 200 and b"kept" in body)
        outcome.equal("another's new topic", gateway.request("POST", "/v1/topics/chat.new", b"1", OTHER)[0], 200)
        outcome.at_most("CPU seconds", used, 4.0)
    outcome.beside(witness)
    return outcome


FED = """
[auth]
anonymous = { subscribe = ["chat.>"], publish = ["chat.>"] }
api_keys = [{ name = "feed", key = "the-feed-of-this-test-has-a-key-too", publish = ["chat.>"], commands_per_second = 1000000 }]
[[topics]]
match = "chat.>"
history = 1
"""


def all_topics_over_http():
    """Row 8 over HTTP: one API key, whose rate would let it, publishes to 102,000 new topics."""
    outcome = Outcome()
    with Gateway(FED) as gateway:
        gateway.key = "the-feed-of-this-test-has-a-key-too"

        def publish(gateway):
            published = refused = 0
            for part in range(51):
                lines = "".join(f'{{"topic":"chat.h{part}.t{number}","data":1}}\n' for number in range(2_000))
                status, body = gateway.request("POST", "/v1/publish", lines, ADDRESS)
                answer = json.loads(body) if status == 200 else {"published": 0, "errors": [], "errors_unlisted": 2_000}
                published += answer["published"]
                refused += len(answer["errors"]) + answer.get("errors_unlisted", 0)
            return published, refused

        (published, refused), witness, used = measured(gateway, publish, seconds=60)
        gateway.key = None
        outcome.at_most("published", published, 100_000)
        outcome.at_least("refused", refused, 2_000)
        outcome.at_least("limit_hits_total{topics_per_address}", gateway.total("limit_hits_total", limit="topics_per_address"), 1)
        outcome.equal("another's new topic", gateway.request("POST", "/v1/topics/chat.new", b"1", OTHER)[0], 200)
    outcome.beside(witness)
    return outcome


def crowded_out():
    """Row 8: all topics are taken, and one address goes on to publish to new ones, each of which looks for a topic that gives way."""
    outcome = Outcome()
    with Gateway(settings=["limits.topics=20000"]) as gateway:

        def take(gateway):
            sessions = [Session(gateway) for _ in range(25)]
            for index, session in enumerate(sessions):
                session.ask(op="subscribe", topics=[f"chat.s{index}.t{number}" for number in range(1000)])
            began, answers = time.monotonic(), []
            for index, session in enumerate(sessions):
                for number in range(20):
                    answers.append(session.ask(id=number, op="publish", topic=f"chat.p{index}.t{number}", data=0).get("code", "published"))
            return (time.monotonic() - began) / len(answers)

        seconds, witness, used = measured(gateway, take, seconds=60)
        outcome.at_most("CPU seconds", used, 2.0)
        outcome.at_most("milliseconds for a publish past the bound", seconds * 1000, 5.0)
    outcome.beside(witness)
    return outcome


def silent_connections():
    """Row 9: 4,200 connections of one address that say nothing."""
    outcome = Outcome()
    with Gateway() as gateway:

        def connect(gateway):
            held = []
            for number in range(4200):
                try:
                    held.append(dial_plainly(gateway))
                except OSError:
                    pass
                if number % 1000 == 999:
                    time.sleep(0.2)
            time.sleep(0.5)
            let = let_in(gateway)
            return sum(not is_closed(own) for own in held), let

        (open_still, (let, took)), witness, _ = measured(gateway, connect)
        outcome.at_most("of 4,200 open still", open_still, 300)
        outcome.true("another address is let in", let)
        outcome.at_most("seconds for it", took, 1.0)
        outcome.at_least("limit_hits_total{pending_per_address}", gateway.total("limit_hits_total", limit="pending_per_address"), 1)
    outcome.beside(witness)
    return outcome


def dial_plainly(gateway):
    """A connection without any TLS, which a silent one never begins."""
    tls, gateway.tls = gateway.tls, False
    try:
        return dial(gateway, ADDRESS)
    finally:
        gateway.tls = tls


def idle_connections():
    """Row 10: 1,479 connections of one address that are kept alive after a GET, where the gateway has 1,500 descriptors."""
    outcome = Outcome()
    with Gateway(descriptors=1500) as gateway:

        def connect(gateway):
            held, statuses = [], {}
            for _ in range(1479):
                try:
                    own = dial(gateway, ADDRESS)
                    own.settimeout(5)
                    held.append(own)
                    status = exchange(own, "GET", "/healthz")[0]
                except (OSError, Closed) as error:
                    status = type(error).__name__
                statuses[status] = statuses.get(status, 0) + 1
            time.sleep(0.3)
            let = let_in(gateway)
            return sum(not is_closed(own) for own in held), statuses, let

        (open_still, statuses, (let, took)), witness, _ = measured(gateway, connect, seconds=40)
        outcome.note("answers", str(statuses), True)
        outcome.at_most("open still", open_still, 150)
        outcome.true("another address is let in", let)
        outcome.at_most("seconds for it", took, 1.0)
        hits = sum(gateway.total("limit_hits_total", limit=limit) for limit in ("http_connections", "http_connections_per_address"))
        outcome.at_least("limit_hits_total{http_connections…}", hits, 1)
    outcome.beside(witness)
    return outcome


def lingering_places():
    """Found by reading: a session's place is given back at its Close, while its socket lingers for 2 s."""
    outcome = Outcome()
    with Gateway(settings=["limits.sessions_per_address=50"]) as gateway:
        resting = gateway.descriptors()

        def come_and_go(gateway):
            most, opened, refused, held = 0, 0, 0, []
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                try:
                    session = Session(gateway)
                except Refused:
                    refused += 1
                    time.sleep(0.01)
                    continue
                opened += 1
                session.send(bytes([0x8F, 0x80, 0, 0, 0, 0]))  # an opcode that there is not: the gateway closes, and the client stays
                held.append(session)
                if opened % 20 == 0:
                    most = max(most, gateway.descriptors())
            return opened, refused, most

        (opened, refused, most), witness, _ = measured(gateway, come_and_go)
        outcome.note("opened and refused", f"{opened}, {refused}", True)
        outcome.at_most("descriptors more than at rest", most - resting, 50 + 25)
    outcome.beside(witness)
    return outcome
