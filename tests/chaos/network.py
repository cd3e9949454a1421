"""Faults of a real network: the subscribers' namespace is behind a link that is narrow, loses packets or resets."""

import ctypes
import os
import shutil
import subprocess
import time

from client_process import PublishCounts, subscribers_of, mixed_subscriptions, publishers_of
from worker import Flags
from gateway import Gateway
from ledger import Ledger
from process import Skipped, until
from recovery import KEPT, settle

CLONE_NEWNET = 0x40000000
GATEWAY, SUBSCRIBERS = "10.213.77.1", "10.213.77.2"
# A dead peer is detected within these two, a sweep, and the 2 s that its socket may still have.
LIMITS = 'ping_interval = "2s"\npong_timeout = "1s"'
SILENCE = 5.0
PUBLISHERS = 3
SECONDS = 15


class Link:
    """A veth pair to a namespace of its own, and the faults on it."""

    def __init__(self):
        self.name = f"belfry{os.getpid()}"
        self.near, self.far = f"bn{os.getpid()}", f"bf{os.getpid()}"

    def __enter__(self):
        call("ip", "netns", "add", self.name)
        call("ip", "link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", self.name)
        call("ip", "addr", "add", f"{GATEWAY}/30", "dev", self.near)
        call("ip", "link", "set", self.near, "up")
        for command in (["addr", "add", f"{SUBSCRIBERS}/30", "dev", self.far], ["link", "set", self.far, "up"], ["link", "set", "lo", "up"]):
            call("ip", "-n", self.name, *command)
        call("nft", "add", "table", "inet", self.name)
        call("nft", "add", "chain", "inet", self.name, "in", "{ type filter hook input priority 0 ; }")
        call("nft", "add", "chain", "inet", self.name, "out", "{ type filter hook output priority 0 ; }")
        return self

    def __exit__(self, *_):
        for command in (["nft", "delete", "table", "inet", self.name], ["ip", "link", "del", self.near], ["ip", "netns", "del", self.name]):
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False)

    def enter(self):
        """From now on this process makes its sockets in the namespace."""
        with open(f"/run/netns/{self.name}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "the namespace can't be entered")

    def incoming(self, *rule):
        call("nft", "add", "rule", "inet", self.name, "in", "iifname", self.near, *rule)

    def outgoing(self, *rule):
        call("nft", "add", "rule", "inet", self.name, "out", "oifname", self.near, *rule)

    def heal(self):
        call("nft", "flush", "chain", "inet", self.name, "in")
        call("nft", "flush", "chain", "inet", self.name, "out")
        subprocess.run(["tc", "qdisc", "del", "dev", self.near, "root"], stderr=subprocess.DEVNULL, check=False)


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"


def narrow(link, _port):
    call("tc", "qdisc", "add", "dev", link.near, "root", "tbf", "rate", "256kbit", "burst", "16kb", "latency", "400ms")


def lossy(link, _port):
    link.incoming("numgen", "random", "mod", "100", "<", "5", "drop")
    link.outgoing("numgen", "random", "mod", "100", "<", "5", "drop")


def resetting(link, port):
    link.incoming("tcp", "dport", str(port), "numgen", "random", "mod", "200", "<", "1", "reject", "with", "tcp", "reset")


def all_lost(link, _port):
    link.incoming("drop")
    link.outgoing("drop")


def no_ends(link, _port):
    """No connection ends visibly: neither a FIN nor a RST arrives."""
    link.incoming("tcp", "flags", "&", "(fin|rst)", "!=", "0", "drop")


# By name: the fault, its duration, and whether subscribers drop meanwhile.
FAULTS = {
    "256 kbit/s": (narrow, SECONDS, False),
    "5 % loss": (lossy, SECONDS, False),
    "resets": (resetting, SECONDS, False),
    "10 s without packets": (all_lost, 10, False),
    "lost FINs and RSTs": (no_ends, SECONDS, True),
}


def faults_of_a_network(long):
    """Each fault lasts 15 s: each of 50 subscribers gets every message once, in order; dead peers' sessions end with 4005."""
    if not long:
        raise Skipped("takes two minutes; only with --long")
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "tc", "nft"))):
        raise Skipped("needs root, ip, tc and nft (packages iproute2 and nftables)")
    count, figures = 50, []
    topics, subscriptions = mixed_subscriptions(count, 5, 4, seed=13)
    ledger, counts, flags = Ledger(count, topics), PublishCounts(PUBLISHERS), Flags()
    with Link() as link, Gateway(rules=KEPT, limits=LIMITS, host=GATEWAY) as gateway:
        clients = subscribers_of(flags, ledger, subscriptions, [gateway.port], 2, silence=SILENCE, drop_every=4.0, host=GATEWAY, enter=link.enter)
        publishers = publishers_of(flags, counts, topics, gateway.port, 60, host=GATEWAY)
        until("all are subscribed", lambda: all(ledger.subscribed_at(index) for index in range(count)), 20)
        for name, (fault, seconds, drops) in FAULTS.items():
            received, silent = ledger.received(), gateway.total("sessions_closed_total", reason="pong_timeout")
            flags["publishes"] = True
            fault(link, gateway.port)
            flags["drops"] = drops
            time.sleep(seconds)
            flags["publishes"] = flags["drops"] = False
            during, silent = ledger.received() - received, gateway.total("sessions_closed_total", reason="pong_timeout") - silent
            left = gateway.total("sessions") - PUBLISHERS
            link.heal()
            if fault is all_lost:
                # 2 s until the ping, 1 s until its pong's deadline, 2 s for the socket, and the sweeps.
                assert left == 0, f"{left} sessions outlived 10 s of silence; ping_interval and pong_timeout are 3 s together"
            if fault in (all_lost, no_ends):
                assert silent, f"{name}: no session was closed with pong_timeout"
            settle(gateway, ledger, counts, subscriptions, exact=True)
            until(lambda: f"{name}: no session of a vanished peer; {gateway.total('sessions')} sessions for {count}", lambda: gateway.total("sessions") == count + PUBLISHERS, 30)
            figures.append(f"{name}: {during} received, {silent} closed with 4005")
        opened = gateway.total("sessions_opened_total")
        flags["ends"] = True
        for client in [*clients, publishers]:
            client.end()
        gateway.close_accounts(">")
        recovered, lost = ledger.recoveries()
        return f"{count} subscribers; {'; '.join(figures)}; {ledger.received()} received once and in order, {opened} sessions, {recovered} topics recovered, {lost} lost"
