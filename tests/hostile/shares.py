"""An address's share of common resources: topics, pending connections, descriptors."""

import json
import time

from client import ADDRESS, Closed, Refused, Session, dial, exchange, is_closed, other_address
from outcome import Outcome
from stage import Gateway, measured

OTHER = other_address(1)


def is_served(gateway, address=OTHER):
    """Whether another address gets a response and a session, and the seconds that this took."""
    started = time.monotonic()
    try:
        status, _ = gateway.request("GET", "/healthz", address=address)
        with Session(gateway, address=address) as session:
            session.socket.settimeout(5)
            return status == 200 and session.ask(op="ping")["op"] == "pong", time.monotonic() - started
    except (OSError, Closed, Refused):
        return False, time.monotonic() - started


def count_open(held, most):
    """The number of connections that are open once there are at most `most`, or after 10 s."""
    deadline = time.monotonic() + 10
    while (count := sum(not is_closed(own) for own in held)) > most and time.monotonic() < deadline:
        time.sleep(0.1)
    return count


def all_topics():
    """One address subscribes to 120,000 topics, and then publishes to new ones."""
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
        outcome.report("subscribes of 1,000", codes)
        outcome.at_most("topics", gateway.total("topics"), 100_100)
        outcome.at_least("refused of 200 publishes to new topics", refused, 200)
        outcome.at_least("limit_hits_total{topics_per_address}", gateway.total("limit_hits_total", limit="topics_per_address"), 1)
        status, body = gateway.request("GET", "/v1/topics/chat.kept/history", address=OTHER)
        outcome.true("another address's history is there", status == 200 and b"kept" in body)
        outcome.equal("another address's new topic", gateway.request("POST", "/v1/topics/chat.new", b"1", OTHER)[0], 200)
        outcome.at_most("CPU seconds", used, 4.0, timed=True)
    outcome.check_witness(witness)
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
    """One API key with a high rate publishes to 102,000 new topics over HTTP."""
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
        outcome.equal("another address's new topic", gateway.request("POST", "/v1/topics/chat.new", b"1", OTHER)[0], 200)
    outcome.check_witness(witness)
    return outcome


def crowded_out():
    """At the limit of topics, publishes to new topics, for which another must give way, stay cheap."""
    outcome = Outcome()
    with Gateway(settings=["limits.topics=20000"]) as gateway:

        def take(gateway):
            sessions = [Session(gateway) for _ in range(25)]
            for index, session in enumerate(sessions):
                session.ask(op="subscribe", topics=[f"chat.s{index}.t{number}" for number in range(1000)])
            started, answers = time.monotonic(), []
            for index, session in enumerate(sessions):
                for number in range(20):
                    answers.append(session.ask(id=number, op="publish", topic=f"chat.p{index}.t{number}", data=0).get("code", "published"))
            return (time.monotonic() - started) / len(answers)

        seconds, witness, used = measured(gateway, take, seconds=60)
        outcome.at_most("CPU seconds", used, 2.0, timed=True)
        outcome.at_most("milliseconds for a publish past the bound", seconds * 1000, 5.0, timed=True)
    outcome.check_witness(witness)
    return outcome


def silent_connections():
    """4,200 connections of one address that send nothing."""
    outcome = Outcome()
    # A handshake's timeout closes them too, later than this attack counts those that are open.
    with Gateway(settings=['limits.handshake_timeout="60s"']) as gateway:

        def connect(gateway):
            held = []
            for number in range(4200):
                try:
                    held.append(dial_plainly(gateway))
                except OSError:
                    pass
                if number % 1000 == 999:
                    time.sleep(0.2)
            served = is_served(gateway)
            return count_open(held, 300), served

        (still_open, (served, took)), witness, _ = measured(gateway, connect)
        outcome.at_most("still open of 4,200", still_open, 300)
        outcome.true("another address is served", served)
        outcome.at_most("seconds for that", took, 1.0, timed=True)
        outcome.at_least("limit_hits_total{pending_per_address}", gateway.total("limit_hits_total", limit="pending_per_address"), 1)
    outcome.check_witness(witness)
    return outcome


def dial_plainly(gateway):
    """A connection without TLS, which a silent client never begins."""
    tls, gateway.tls = gateway.tls, False
    try:
        return dial(gateway, ADDRESS)
    finally:
        gateway.tls = tls


def idle_connections():
    """1,479 keep-alive connections of one address after a GET; the gateway has 1,500 descriptors."""
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
            served = is_served(gateway)
            return count_open(held, 150), statuses, served

        (still_open, statuses, (served, took)), witness, _ = measured(gateway, connect, seconds=40)
        outcome.report("answers", statuses)
        outcome.at_most("still open", still_open, 150)
        outcome.true("another address is served", served)
        outcome.at_most("seconds for that", took, 1.0, timed=True)
        hits = sum(gateway.total("limit_hits_total", limit=limit) for limit in ("http_connections", "http_connections_per_address"))
        outcome.at_least("limit_hits_total{http_connections…}", hits, 1)
    outcome.check_witness(witness)
    return outcome


def lingering_places():
    """Closed sessions whose sockets linger do not hold more descriptors than `sessions_per_address` allows."""
    outcome = Outcome()
    with Gateway(settings=["limits.sessions_per_address=50"]) as gateway:
        rss_before = gateway.descriptors()

        def open_sessions(gateway):
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
                session.send(bytes([0x8F, 0x80, 0, 0, 0, 0]))  # an invalid opcode: the gateway closes the session, and the client keeps its socket open
                held.append(session)
                if opened % 20 == 0:
                    most = max(most, gateway.descriptors())
            return opened, refused, most

        (opened, refused, most), witness, _ = measured(gateway, open_sessions)
        outcome.report("opened and refused", f"{opened}, {refused}")
        outcome.at_most("descriptors more than at rest", most - rss_before, 50 + 25)
    outcome.check_witness(witness)
    return outcome
