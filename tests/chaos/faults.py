"""The network's faults, by a proxy between: whatever it does to the bytes, each subscriber ends with each message once."""

import time

from crew import Books, Crew, crews_of, mixed_wishes, publishers_of
from errand import Flags
from gateway import Gateway, free_port
from ledger import Ledger
from process import until
from proxy import TOXICS, Proxy
from recovery import KEPT, settle

# A dead peer is to be noticed within these two, a sweep, and the 2 s that its socket may still have.
LIMITS = 'ping_interval = "1s"\npong_timeout = "2s"'
SILENCE = 3.0


def faulty_network(long):
    """One proxy for each toxic, with its own subscribers behind; then all are healed, and everybody has everything."""
    each, seconds = (20, 40) if long else (6, 8)
    names = list(TOXICS)
    count = each * len(names)
    topics, wishes = mixed_wishes(count, 5, 4, seed=11)
    ledger, books, flags = Ledger(count, topics), Books(3), Flags()
    with Gateway(rules=KEPT, limits=LIMITS) as gateway:
        ports = [free_port() for _ in names]
        flags["drops"] = True
        proxies = Crew(flags, lambda: [Proxy(gateway.port, port, name).live(flags) for port, name in zip(ports, names)])
        crews = crews_of(flags, ledger, wishes, ports, 2, silence=SILENCE)
        publishers = publishers_of(flags, books, topics, gateway.port, 150)
        flags["publishes"] = True
        time.sleep(seconds)
        flags["publishes"] = False
        time.sleep(0.5)
        received = [sum(row[2] for row in rows_behind(ledger, index, len(names))) for index in range(len(names))]
        flags["drops"] = False
        settle(gateway, ledger, books, wishes, exact=True)
        # Nobody is left of those whose other end has silently gone.
        until(lambda: f"no ghosts; {gateway.total('sessions')} sessions for {count}", lambda: gateway.total("sessions") == count + 3, 10)
        ghosts = gateway.total("sessions_closed_total", reason="pong_timeout")
        assert ghosts, "no session was closed for its silence, though a proxy swallowed all"
        opened = gateway.total("sessions_opened_total")
        flags["ends"] = True
        for crew in [*crews, publishers, proxies]:
            crew.end()
        gateway.close_accounts(">")
        recovered, _ = ledger.recoveries()
        under = ", ".join(f"{name} {number}" for name, number in zip(names, received))
        return f"{each} subscribers behind each proxy, received before the healing: {under}; {opened} sessions, {ghosts} silent, {recovered} topics recovered"


def rows_behind(ledger, proxy, proxies):
    for position, row in enumerate(ledger.rows()):
        if position // len(ledger.topics) % proxies == proxy:
            yield row
