"""Network faults that proxies cause: in the end each subscriber has each message once."""

import time

from client_process import PublishCounts, ClientProcess, subscribers_of, mixed_subscriptions, publishers_of
from worker import Flags
from gateway import Gateway
from ledger import Ledger
from process import free_port, until
from proxy import TOXICS, Proxy
from recovery import KEPT, settle

# A dead peer must be detected within these two, a sweep, and the 2 s that its socket may still have.
LIMITS = 'ping_interval = "1s"\npong_timeout = "2s"'
SILENCE = 3.0


def faulty_network(long):
    """Each kind of fault has a proxy with subscribers behind it; when the faults end, every subscriber gets every message."""
    each, seconds = (20, 40) if long else (6, 8)
    names = list(TOXICS)
    count = each * len(names)
    topics, subscriptions = mixed_subscriptions(count, 5, 4, seed=11)
    ledger, counts, flags = Ledger(count, topics), PublishCounts(3), Flags()
    with Gateway(rules=KEPT, limits=LIMITS) as gateway:
        ports = [free_port() for _ in names]
        flags["drops"] = True
        proxies = ClientProcess(flags, lambda: [Proxy(gateway.port, port, name).run(flags) for port, name in zip(ports, names)])
        clients = subscribers_of(flags, ledger, subscriptions, ports, 2, silence=SILENCE)
        publishers = publishers_of(flags, counts, topics, gateway.port, 150)
        flags["publishes"] = True
        time.sleep(seconds)
        flags["publishes"] = False
        time.sleep(0.5)
        received = [sum(row[2] for row in rows_behind(ledger, index, len(names))) for index in range(len(names))]
        flags["drops"] = False
        settle(gateway, ledger, counts, subscriptions, exact=True)
        # A session whose peer silently vanished ends too.
        until(lambda: f"no session of a vanished peer; {gateway.total('sessions')} sessions for {count}", lambda: gateway.total("sessions") == count + 3, 10)
        vanished = gateway.total("sessions_closed_total", reason="pong_timeout")
        assert vanished, "no session was closed with pong_timeout, though a proxy swallowed all bytes"
        opened = gateway.total("sessions_opened_total")
        flags["ends"] = True
        for client in [*clients, publishers, proxies]:
            client.end()
        gateway.close_accounts(">")
        recovered, _ = ledger.recoveries()
        by_fault = ", ".join(f"{name} {number}" for name, number in zip(names, received))
        return f"{each} subscribers behind each proxy, received during the faults: {by_fault}; {opened} sessions, {vanished} closed with pong_timeout, {recovered} topics recovered"


def rows_behind(ledger, proxy, proxies):
    for position, row in enumerate(ledger.rows()):
        if position // len(ledger.topics) % proxies == proxy:
            yield row
