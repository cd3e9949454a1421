"""Found by reading: what the gateway says of itself, and what it gives up, at bounds that few reach."""

import time

from client import Session, other_address
from outcome import MIB, Outcome
from process import until
from stage import Gateway, measured


def stale_gauges():
    """`belfry_topics` and `belfry_history_bytes` as they are at the moment of the scrape."""
    outcome = Outcome()
    with Gateway(settings=["feed.simulator.enabled=false"]) as gateway:
        stale = 0
        for number in range(20):
            before = gateway.metrics()
            gateway.publish(f"chat.g{number}", "g" * 1000)
            after = gateway.metrics()
            rose = [after[name, ()] - before[name, ()] for name in ("topics", "history_bytes")]
            stale += not (1 <= rose[0] <= 2 and rose[1] >= 1000)
        outcome.equal("of twenty scrapes, stale", stale, 0)
    return outcome


def trimmed_histories():
    """Histories are at their bound, 90,000 topics have none, and four sessions publish to the eight that have: who looks for what gives way?"""
    outcome = Outcome()
    bound = 8 * MIB
    with Gateway(settings=[f"limits.history_bytes={bound}"]) as gateway:
        named = [Session(gateway) for _ in range(90)]
        for index, session in enumerate(named):
            session.ask(op="subscribe", topics=[f"chat.named.s{index}.t{number}" for number in range(1000)])

        def publish(gateway):
            sessions = [Session(gateway, address=other_address(number)) for number in range(4)]
            sent, deadline = 0, time.monotonic() + 4
            while time.monotonic() < deadline:
                for session in sessions:
                    session.say(op="publish", topic=f"chat.large.t{sent % 8}", data="l" * 60_000)
                    sent += 1
                time.sleep(0.011)
            for session in sessions:
                session.ask_until_done(op="ping")
            return sent

        sent, witness, used = measured(gateway, publish, seconds=60)
        outcome.note("published", str(sent), True)
        outcome.at_least("limit_hits_total{history_bytes}", gateway.total("limit_hits_total", limit="history_bytes"), 1)
        outcome.at_most("CPU seconds", used, 1.0)
    outcome.beside(witness)
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
    """20 sessions that don't read are owed a gap of each of 60,000 topics; what remembers them counts in an outbox."""
    outcome = Outcome()
    with Gateway(DROPPING) as gateway:
        gateway.key = "the-feed-of-this-test-has-a-key-too"
        readers = [Session(gateway, receive_buffer=4096) for _ in range(20)]
        for reader in readers:
            reader.say(op="subscribe", topics=["drop.*"])
        until("all are subscribed", lambda: gateway.total("subscriptions") == len(readers), 10)
        resting = gateway.rss()

        for part in range(0, 60_000, 2_000):
            gateway.publish_batch((f"drop.t{number}", "d" * 300) for number in range(part, part + 2_000))
        outcome.note("sessions left", str(gateway.total("sessions")), True)
        outcome.at_most("memory rose by MiB", (gateway.rss() - resting) // MIB, 90)
    return outcome


RULES = """
[auth]
anonymous = { subscribe = [">"], publish = [">"] }
api_keys = [{ name = "operator", key = "the-operator-of-this-test-has-a-key", admin = true }]
"""


def many_rules():
    """Eight reloads, each with 9,000 rules of new names: a topic counts for its own rule, not for the last one of a 16-bit number."""
    outcome = Outcome()

    def config(generation):
        return RULES + "".join(f'[[topics]]\nmatch = "g{generation}r{number}.>"\nhistory = 1\n' for number in range(9_000))

    with Gateway(config(0)) as gateway:
        gateway.key = "the-operator-of-this-test-has-a-key"
        for generation in range(1, 9):
            gateway.reload(config(generation))
            name = f"g{generation}r8999"
            probe = iter(range(10_000))

            def has_rule():
                topic = f"{name}.n{next(probe)}"
                gateway.publish(topic, 1)
                return f'"rule":"{name}.>"'.encode() in gateway.request("GET", f"/v1/topics/{topic}")[1]

            try:
                until(f"the rules of reload {generation} hold", has_rule, 2)
            except AssertionError as error:
                outcome.true(str(error), False)
                break
        counted = gateway.total("messages_published_total", rule="g8r8999.>", source="http")
        outcome.at_least("messages counted for the last rule", counted, 1)
    return outcome
