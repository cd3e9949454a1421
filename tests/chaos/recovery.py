"""Recovery by `since` after sessions that drop at random, and after a gateway that is killed or restarted."""

import random
import tempfile
import time

from client_process import PublishCounts, subscribers_of, matches, mixed_subscriptions, publishers_of, replace_some
from worker import Flags
from gateway import Gateway
from ledger import Ledger
from process import until

KEPT = '[[topics]]\nmatch = ">"\nhistory = 1000000\nhistory_ttl = "1h"\non_slow = "disconnect"\n'
PUBLISHERS = 5
# The number of groups, and of topics in each; a subscriber has the topics of one or two groups. More would overload the
# subscribers' own processes.
TOPICS = (5, 4)
LONG_TOPICS = (25, 2)


def dropping_sessions(long):
    """Subscribers that are cut, reset, stalled and killed: in the end each has every message once, in order."""
    count, seconds, per_second, processes = (200, 60, 1000, 4) if long else (200, 8, 300, 4)
    topics, subscriptions = mixed_subscriptions(count, *LONG_TOPICS if long else TOPICS, seed=5)
    ledger, counts, flags = Ledger(count, topics), PublishCounts(PUBLISHERS), Flags()
    with Gateway(rules=KEPT) as gateway:
        clients = subscribers_of(flags, ledger, subscriptions, [gateway.port], processes, drop_every=2.0)
        publishers = publishers_of(flags, counts, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        kills = replace_some(clients, seconds, (0.5, 1.5))
        flags["publishes"] = flags["drops"] = False
        settle(gateway, ledger, counts, subscriptions, exact=True)
        flags["ends"] = True
        for client in [*clients, publishers]:
            client.end()
        gateway.close_accounts(">")
        recovered, lost = ledger.recoveries()
        sessions = gateway.total("sessions_opened_total")
        assert recovered > count, f"only {recovered} topics were resumed: the drops did not happen"
        return (
            f"{count} subscribers, {counts.totals()[0]} messages, {sessions} sessions, {kills} killed processes: "
            f"{ledger.received()} received once and in order, {recovered} topics recovered, {lost} lost"
        )


def killed_gateway(long):
    """Three kills of the gateway under load: topics get new epochs, and all subscribers resume within 5 s."""
    count, between, per_second = (200, 15, 2000) if long else (200, 3, 300)
    topics, subscriptions = mixed_subscriptions(count, *LONG_TOPICS if long else TOPICS, seed=6)
    ledger, counts, flags = Ledger(count, topics), PublishCounts(PUBLISHERS), Flags()
    with Gateway(rules=KEPT) as gateway:
        clients = subscribers_of(flags, ledger, subscriptions, [gateway.port], 4, restarts=True, strict=False, drop_every=20.0)
        publishers = publishers_of(flags, counts, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        returns = []
        for _ in range(3):
            time.sleep(between)
            gateway.kill()
            time.sleep(random.uniform(0, 0.3))
            returns.append(restart_and_resume(gateway, ledger, count))
        end_all(gateway, ledger, counts, flags, subscriptions, clients, publishers)
        gateway.close_accounts(">")
        # Without --long the machine may be slow or busy.
        assert max(returns) <= (5 if long else 30), f"it took {max(returns):.1f} s until all had resumed"
        recovered, lost = ledger.recoveries()
        assert lost, "every topic was recovered, though the gateway was killed"
        seconds = ", ".join(f"{seconds:.2f}" for seconds in returns)
        return f"{count} subscribers, {counts.totals()[0]} messages, 3 kills: all resumed after {seconds} s; {recovered} topics recovered, {lost} not"


def planned_restarts(long):
    """Restarts under load, with `[store]`: every subscriber recovers every topic."""
    count, restarts, between, per_second = (200, 10, 5, 1000) if long else (200, 3, 1.5, 300)
    topics, subscriptions = mixed_subscriptions(count, *LONG_TOPICS if long else TOPICS, seed=7)
    ledger, counts, flags = Ledger(count, topics), PublishCounts(PUBLISHERS), Flags()
    with tempfile.TemporaryDirectory(prefix="belfry-store-") as store, Gateway(rules=stored(store), drain="1s") as gateway:
        # The publishers' numbers may have holes, because the gateway discards input after its Close. Offsets may not.
        clients = subscribers_of(flags, ledger, subscriptions, [gateway.port], 4, strict=False, drop_every=20.0)
        publishers = publishers_of(flags, counts, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        for _ in range(restarts):
            time.sleep(between)
            gateway.stop()
            restart_and_resume(gateway, ledger, count)
        end_all(gateway, ledger, counts, flags, subscriptions, clients, publishers)
        newest = gateway.offsets("room.>")
        recovered, lost = ledger.recoveries()
        assert not lost, f"{lost} topics were not recovered, though every stop was a drain"
        acknowledged = counts.totals()[1]
        published = sum(offset for _, offset in newest.values())
        assert published >= acknowledged, f"{acknowledged} messages were acknowledged, the topics hold {published}"
        expected = sum(offset for topic, (_, offset) in newest.items() for patterns in subscriptions if any(matches(pattern, topic) for pattern in patterns))
        assert ledger.received() == expected, f"{expected} messages were due to all subscribers together, {ledger.received()} arrived"
        return f"{count} subscribers, {published} messages, {restarts} restarts: {ledger.received()} received once and in order, {recovered} topics recovered, none lost"


def restarts_and_kills(long):
    """Restarts and kills in turn, with `[store]`: after a kill epochs are new, and `recovered` is never true falsely."""
    count, rounds, between, per_second = (200, 6, 4, 1000) if long else (200, 2, 1.5, 300)
    topics, subscriptions = mixed_subscriptions(count, *LONG_TOPICS if long else TOPICS, seed=8)
    ledger, counts, flags = Ledger(count, topics), PublishCounts(PUBLISHERS), Flags()
    with tempfile.TemporaryDirectory(prefix="belfry-store-") as store, Gateway(rules=stored(store), drain="1s") as gateway:
        clients = subscribers_of(flags, ledger, subscriptions, [gateway.port], 4, restarts=True, strict=False, drop_every=20.0)
        publishers = publishers_of(flags, counts, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        for _ in range(rounds):
            time.sleep(between)
            gateway.stop()
            restart_and_resume(gateway, ledger, count)
            time.sleep(between)
            gateway.kill()
            restart_and_resume(gateway, ledger, count)
        end_all(gateway, ledger, counts, flags, subscriptions, clients, publishers)
        recovered, lost = ledger.recoveries()
        assert recovered and lost, f"{recovered} topics were recovered and {lost} were not: restarts must cause the one, kills the other"
        return f"{count} subscribers, {rounds} restarts and {rounds} kills: {recovered} topics recovered, {lost} not, none falsely"


def stored(folder):
    return KEPT + f'[store]\ndir = "{folder}"\n'


def restart_and_resume(gateway, ledger, count):
    """Starts the gateway again; returns the seconds until every subscriber has resumed."""
    started = gateway.start()
    until(
        lambda: f"all have resumed; missing are {sum(ledger.subscribed_at(index) < started for index in range(count))} of {count}",
        lambda: all(ledger.subscribed_at(index) >= started for index in range(count)),
        15,
    )
    return max(ledger.subscribed_at(index) for index in range(count)) - started


def end_all(gateway, ledger, counts, flags, subscriptions, clients, publishers):
    """Ends publishing, and ends the subscribers once each has its topics' newest messages; kills the publishers."""
    time.sleep(1)
    flags["publishes"] = flags["drops"] = False
    settle(gateway, ledger, counts, subscriptions, exact=False)
    flags["ends"] = True
    for client in clients:
        client.end()
    publishers.kill()


def settle(gateway, ledger, counts, subscriptions, exact):
    """Waits until every subscriber has every topic's newest message, and checks the ledger."""
    time.sleep(0.2)
    if exact:
        until(lambda: f"all messages are acknowledged: {counts.totals()}", lambda: len(set(counts.totals())) == 1, 15)
    newest = gateway.offsets("room.>")
    if exact:
        published = sum(offset for _, offset in newest.values())
        assert published == counts.totals()[0], f"{counts.totals()[0]} messages were acknowledged, the topics hold {published}"
    until(
        lambda: f"each has each topic's newest message; {behind(ledger, newest, subscriptions)} have not; faults: {ledger.faults()}",
        lambda: not behind(ledger, newest, subscriptions),
        30,
    )
    assert not ledger.faults(), f"faults: {ledger.faults()}"
    if exact:
        expected = sum(offset for topic, (_, offset) in newest.items() for patterns in subscriptions if any(matches(pattern, topic) for pattern in patterns))
        assert ledger.received() == expected, f"{expected} messages were due to all subscribers together, {ledger.received()} arrived"


def behind(ledger, newest, subscriptions):
    """How many pairs of a subscriber and a topic lack the topic's newest message."""
    count = 0
    for position, (epoch, offset, *_) in enumerate(ledger.rows()):
        subscriber, index = divmod(position, len(ledger.topics))
        topic = ledger.topics[index]
        if topic in newest and any(matches(pattern, topic) for pattern in subscriptions[subscriber]):
            count += (epoch.rstrip(b"\0").decode(), offset) != newest[topic]
    return count
