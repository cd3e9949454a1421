"""Metrics and accounts of the gateway at its bounds."""

import time

from client import Session, other_address
from outcome import MIB, Outcome
from process import until
from stage import Gateway, measured


def stale_gauges():
    """A scrape right after a publish has the new values of `belfry_topics` and `belfry_history_bytes`."""
    outcome = Outcome()
    with Gateway(settings=["feed.simulator.enabled=false"]) as gateway:
        stale = 0
        for number in range(20):
            before = gateway.metrics()
            gateway.publish(f"chat.g{number}", "g" * 1000)
            after = gateway.metrics()
            growth = [after[name, ()] - before[name, ()] for name in ("topics", "history_bytes")]
            stale += not (1 <= growth[0] <= 2 and growth[1] >= 1000)
        outcome.equal("stale scrapes of twenty", stale, 0)
    return outcome


def trimmed_histories():
    """At the bound of `history_bytes`, publishes to 8 topics with history stay cheap beside 90,000 topics without."""
    outcome = Outcome()
    bound = 8 * MIB
    with Gateway(settings=[f"limits.history_bytes={bound}"]) as gateway:
        named = [Session(gateway) for _ in range(90)]
        for index, session in enumerate(named):
            session.ask(op="subscribe", topics=[f"chat.named.s{index}.t{number}" for number in range(1000)])

        def publish(gateway):
            sessions = [Session(gateway, address=other_address(number)) for number in range(4)]
            sent, deadline = 0, time.monotonic() + 4
            # A busy machine may need longer for more than the bound.
            while time.monotonic() < deadline or sent * 60_000 < 2 * bound and time.monotonic() < deadline + 36:
                for session in sessions:
                    session.send_command(op="publish", topic=f"chat.large.t{sent % 8}", data="l" * 60_000)
                    sent += 1
                time.sleep(0.011)
            for session in sessions:
                session.ask_until_done(op="ping")
            return sent

        sent, witness, used = measured(gateway, publish, seconds=60)
        outcome.report("published", sent)
        outcome.at_least("limit_hits_total{history_bytes}", gateway.total("limit_hits_total", limit="history_bytes"), 1)
        outcome.at_most("CPU seconds", used, 1.0, timed=True)
    outcome.check_witness(witness)
    return outcome


DROPPING = """
[auth]
anonymous = { subscribe = [">"], publish = [">"] }
api_keys = [{ name = "feed", key = "the-feed-of-this-test-has-a-key-too", publish = [">"], commands_per_second = 1000000 }]
[[topics]]
match = "drop.>"
on_slow = "drop_oldest"
"""


def many_gaps():
    """Sessions that don't read miss messages of 60,000 topics: the memory of their gaps counts in their outboxes."""
    outcome = Outcome()
    with Gateway(DROPPING) as gateway:
        gateway.key = "the-feed-of-this-test-has-a-key-too"
        readers = [Session(gateway, receive_buffer=4096) for _ in range(20)]
        for reader in readers:
            reader.send_command(op="subscribe", topics=["drop.*"])
        until("all are subscribed", lambda: gateway.total("subscriptions") == len(readers), 10)
        rss_before = gateway.rss()

        for part in range(0, 60_000, 2_000):
            gateway.publish_batch((f"drop.t{number}", "d" * 300) for number in range(part, part + 2_000))
        outcome.report("remaining sessions", gateway.total("sessions"))
        outcome.at_most("memory growth in MiB", (gateway.rss() - rss_before) // MIB, 90)
    return outcome


RULES = """
[auth]
anonymous = { subscribe = [">"], publish = [">"] }
api_keys = [{ name = "operator", key = "the-operator-of-this-test-has-a-key", admin = true }]
"""


def many_rules():
    """More rules than a 16-bit number counts, over eight reloads: a topic counts for its own rule."""
    outcome = Outcome()

    def config(reload):
        return RULES + "".join(f'[[topics]]\nmatch = "g{reload}r{number}.>"\nhistory = 1\n' for number in range(9_000))

    with Gateway(config(0)) as gateway:
        gateway.key = "the-operator-of-this-test-has-a-key"
        for reload in range(1, 9):
            gateway.reload(config(reload))
            name = f"g{reload}r8999"
            probe = iter(range(10_000))

            def has_rule():
                topic = f"{name}.n{next(probe)}"
                gateway.publish(topic, 1)
                return f'"rule":"{name}.>"'.encode() in gateway.request("GET", f"/v1/topics/{topic}")[1]

            try:
                until(f"the rules of reload {reload} apply", has_rule, 10)
            except AssertionError as error:
                outcome.true(str(error), False)
                break
        counted = gateway.total("messages_published_total", rule="g8r8999.>", source="http")
        outcome.at_least("messages counted for the last rule", counted, 1)
    return outcome
