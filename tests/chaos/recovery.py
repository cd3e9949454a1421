"""Sessions that drop at random moments, and a gateway that dies: what `since` brings back."""

import random
import tempfile
import time

from crew import Books, crews_of, matches, mixed_wishes, publishers_of, replace_some
from errand import Flags
from gateway import Gateway
from ledger import Ledger
from process import until

KEPT = '[[topics]]\nmatch = ">"\nhistory = 1000000\nhistory_ttl = "1h"\non_slow = "disconnect"\n'
PUBLISHERS = 5
# Groups, and topics in each; a subscriber takes one or two groups' worth. More would be too much for its own process, not for
# the gateway.
TOPICS = (5, 4)
LONG_TOPICS = (25, 2)


def dropping_sessions(long):
    """Subscribers that are cut, reset, stalled and killed: at the end each has every message once, in order, and none was lost."""
    count, seconds, per_second, processes = (200, 60, 1000, 4) if long else (200, 8, 300, 4)
    topics, wishes = mixed_wishes(count, *LONG_TOPICS if long else TOPICS, seed=5)
    ledger, books, flags = Ledger(count, topics), Books(PUBLISHERS), Flags()
    with Gateway(rules=KEPT) as gateway:
        crews = crews_of(flags, ledger, wishes, [gateway.port], processes, drop_every=2.0)
        publishers = publishers_of(flags, books, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        kills = replace_some(crews, seconds, (0.5, 1.5))
        flags["publishes"] = flags["drops"] = False
        settle(gateway, ledger, books, wishes, exact=True)
        flags["ends"] = True
        for crew in [*crews, publishers]:
            crew.end()
        gateway.close_accounts(">")
        recovered, lost = ledger.recoveries()
        sessions = gateway.total("sessions_opened_total")
        assert recovered > count, f"only {recovered} topics were resumed: the drops did not happen"
        return (
            f"{count} subscribers, {books.totals()[0]} messages, {sessions} sessions, {kills} killed processes: "
            f"{ledger.received()} received once and in order, {recovered} topics recovered, {lost} lost"
        )


def killed_gateway(long):
    """kill -9 of the gateway under load, three times: a new epoch says so, and all are back within 5 s."""
    count, between, per_second = (200, 15, 2000) if long else (200, 3, 300)
    topics, wishes = mixed_wishes(count, *LONG_TOPICS if long else TOPICS, seed=6)
    ledger, books, flags = Ledger(count, topics), Books(PUBLISHERS), Flags()
    with Gateway(rules=KEPT) as gateway:
        crews = crews_of(flags, ledger, wishes, [gateway.port], 4, restarts=True, strict=False, drop_every=20.0)
        publishers = publishers_of(flags, books, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        returns = []
        for _ in range(3):
            time.sleep(between)
            gateway.kill()
            time.sleep(random.uniform(0, 0.3))
            returns.append(all_back(gateway, ledger, count))
        end_all(gateway, ledger, books, flags, wishes, crews, publishers)
        gateway.close_accounts(">")
        # Without --long this may be any machine, with whatever runs beside it.
        assert max(returns) <= (5 if long else 30), f"it took {max(returns):.1f} s until all were back"
        recovered, lost = ledger.recoveries()
        assert lost, "no topic was told as lost, though the gateway was killed"
        back = ", ".join(f"{seconds:.2f}" for seconds in returns)
        return f"{count} subscribers, {books.totals()[0]} messages, 3 kills: all back after {back} s; {recovered} topics recovered, {lost} begun anew"


def planned_restarts(long):
    """SIGTERM and a new start under load, with `[store]`: every subscriber resumes every topic and misses nothing."""
    count, restarts, between, per_second = (200, 10, 5, 1000) if long else (200, 3, 1.5, 300)
    topics, wishes = mixed_wishes(count, *LONG_TOPICS if long else TOPICS, seed=7)
    ledger, books, flags = Ledger(count, topics), Books(PUBLISHERS), Flags()
    with tempfile.TemporaryDirectory(prefix="belfry-store-") as store, Gateway(rules=stored(store), drain="1s") as gateway:
        # The publishers' numbers may have holes: what is sent behind a Close is discarded. Offsets may not.
        crews = crews_of(flags, ledger, wishes, [gateway.port], 4, strict=False, drop_every=20.0)
        publishers = publishers_of(flags, books, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        for _ in range(restarts):
            time.sleep(between)
            gateway.stop()
            all_back(gateway, ledger, count)
        end_all(gateway, ledger, books, flags, wishes, crews, publishers)
        newest = gateway.offsets("room.>")
        recovered, lost = ledger.recoveries()
        assert not lost, f"{lost} topics were told as lost, though every stop was a clean one"
        acknowledged = books.totals()[1]
        published = sum(offset for _, offset in newest.values())
        assert published >= acknowledged, f"{acknowledged} messages were acknowledged, the topics hold {published}"
        expected = sum(offset for topic, (_, offset) in newest.items() for wanted in wishes if any(matches(wish, topic) for wish in wanted))
        assert ledger.received() == expected, f"{expected} messages were due to all subscribers together, {ledger.received()} came"
        return f"{count} subscribers, {published} messages, {restarts} restarts: {ledger.received()} received once and in order, {recovered} topics recovered, none lost"


def restarts_and_kills(long):
    """SIGTERM and kill -9 in turn, with `[store]`: a kill begins new epochs, and nobody is ever told `recovered` falsely."""
    count, rounds, between, per_second = (200, 6, 4, 1000) if long else (200, 2, 1.5, 300)
    topics, wishes = mixed_wishes(count, *LONG_TOPICS if long else TOPICS, seed=8)
    ledger, books, flags = Ledger(count, topics), Books(PUBLISHERS), Flags()
    with tempfile.TemporaryDirectory(prefix="belfry-store-") as store, Gateway(rules=stored(store), drain="1s") as gateway:
        crews = crews_of(flags, ledger, wishes, [gateway.port], 4, restarts=True, strict=False, drop_every=20.0)
        publishers = publishers_of(flags, books, topics, gateway.port, per_second)
        flags["publishes"] = flags["drops"] = True
        for _ in range(rounds):
            time.sleep(between)
            gateway.stop()
            all_back(gateway, ledger, count)
            time.sleep(between)
            gateway.kill()
            all_back(gateway, ledger, count)
        end_all(gateway, ledger, books, flags, wishes, crews, publishers)
        recovered, lost = ledger.recoveries()
        assert recovered and lost, f"{recovered} topics were recovered and {lost} begun anew: both kinds of end were to show"
        return f"{count} subscribers, {rounds} restarts and {rounds} kills: {recovered} topics recovered, {lost} begun anew, no false promise"


def stored(folder):
    return KEPT + f'[store]\ndir = "{folder}"\n'


def all_back(gateway, ledger, count):
    """Starts the gateway again; answers the seconds until every subscriber has resumed."""
    began = gateway.start()
    until(
        lambda: f"all back; missing are {sum(ledger.seated_at(index) < began for index in range(count))} of {count}",
        lambda: all(ledger.seated_at(index) >= began for index in range(count)),
        15,
    )
    return max(ledger.seated_at(index) for index in range(count)) - began


def end_all(gateway, ledger, books, flags, wishes, crews, publishers):
    """Ends publishing, then the subscribers once each has its topics' newest messages; what publishers still wait for is theirs."""
    time.sleep(1)
    flags["publishes"] = flags["drops"] = False
    settle(gateway, ledger, books, wishes, exact=False)
    flags["ends"] = True
    for crew in crews:
        crew.end()
    publishers.kill()


def settle(gateway, ledger, books, wishes, exact):
    """Waits until every subscriber has every topic's newest message, and holds the ledger to it."""
    time.sleep(0.2)
    if exact:
        until(lambda: f"all acknowledged: {books.totals()}", lambda: len(set(books.totals())) == 1, 15)
    newest = gateway.offsets("room.>")
    if exact:
        published = sum(offset for _, offset in newest.values())
        assert published == books.totals()[0], f"{books.totals()[0]} messages were acknowledged, the topics hold {published}"
    until(
        lambda: f"each has each topic's newest message; {behind(ledger, newest, wishes)} have not; faults: {ledger.faults()}",
        lambda: not behind(ledger, newest, wishes),
        30,
    )
    assert not ledger.faults(), f"faults: {ledger.faults()}"
    if exact:
        expected = sum(offset for topic, (_, offset) in newest.items() for wanted in wishes if any(matches(wish, topic) for wish in wanted))
        assert ledger.received() == expected, f"{expected} messages were due to all subscribers together, {ledger.received()} came"


def behind(ledger, newest, wishes):
    """How many subscribers × topics are not where the topic is."""
    count = 0
    for position, (epoch, offset, *_) in enumerate(ledger.rows()):
        subscriber, index = divmod(position, len(ledger.topics))
        topic = ledger.topics[index]
        if topic in newest and any(matches(wish, topic) for wish in wishes[subscriber]):
            count += (epoch.rstrip(b"\0").decode(), offset) != newest[topic]
    return count
