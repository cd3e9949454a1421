"""Measures the costs of a cluster, for docs/performance.md; asserts only that no message is lost."""

import asyncio
import json
import os
import pathlib
import statistics
import subprocess
import time

import nats
from chaos import all_ready, eventually
from process import ROOT, Process
from servers import NATS_SERVER, Servers

LOADTEST = os.environ.get("LOADTEST", str(ROOT / "target" / "release" / "belfry-loadtest"))
ROUNDS = 3
PAYLOAD = json.dumps({"m": "x" * 119}).encode()  # 128 bytes


def settings(urls=(), replicas=1, match="chat.>", retain=1000, history=100):
    cluster = f"""
[cluster]
urls = {json.dumps(list(urls))}
[[cluster.streams]]
name = "FIGURES"
match = "{match}"
replicas = {replicas}
retain = {retain}
"""
    return f"""
[server]
shards = 1
[auth]
anonymous = {{ subscribe = ["{match}"], publish = ["{match}"] }}
[limits]
sessions_per_address = 100000
pending_per_address = 100000
commands_per_second = 10000000
commands_burst = 10000000
frames_per_second = 10000000
frames_burst = 10000000
topics_per_address = 1000000
topics = 1000000
history_bytes = 2000000000
{cluster if urls else ""}
[[topics]]
match = "{match}"
history = {history}
on_slow = "disconnect"
"""


async def loadtest(gateways, *arguments):
    """The report of a load test on these gateways, or on a peer that `arguments` name."""
    command = [LOADTEST, "fanout", "--json", "--peers", str(ROOT / "loadtest" / "peers"), *arguments]
    for gateway in gateways:
        command += ["--url", f"ws://127.0.0.1:{gateway.port}/ws", "--server-pid", str(gateway.process.pid)]
    environment = os.environ | {"PATH": f"{pathlib.Path(NATS_SERVER).parent}:{os.environ['PATH']}"}  # for the peer that is NATS
    done = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True, check=False, env=environment))
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == 0, f"{command}: {report['failures']} {report['verdict']}"
    return report


def median(reports, *keys):
    def value(report):
        for key in keys:
            report = report[key]
        return report

    return statistics.median(map(value, reports))


async def cost_of_a_delivery():
    """1,000 subscribers at each of two gateways, and 1,000 at one gateway without a cluster, in alternating runs."""
    alone, pair = [], []
    load = ["--rate", "100", "--duration", "8", "--publishers", "2"]
    with Servers(1) as servers, Process(settings()) as single, Process(settings(servers.urls)) as one, Process(settings(servers.urls)) as two:
        await eventually("both follow the stream", lambda: all_ready([one, two]), 20)
        for _ in range(ROUNDS):
            alone.append(await loadtest([single], "-n", "1000", *load))
            pair.append(await loadtest([one, two], "-n", "2000", *load))
    before, after = (median(reports, "server", "cpu_us_per_delivery") for reports in (alone, pair))
    return f"CPU a delivery: {before:.2f} us at one gateway, {after:.2f} us at two with a stream: {after / before:.2f} times"


async def latency():
    """From a publish at one gateway to a subscriber at another, compared with one gateway, and with plain NATS."""
    load = ["-n", "20", "--rate", "200", "--duration", "8", "--publishers", "2"]
    found = {}
    with Servers(1) as r1, Servers(3) as r3, Process(settings()) as alone:
        pairs = [[Process(settings(servers.urls, len(servers.all))) for _ in range(2)] for servers in (r1, r3)]
        try:
            await eventually("all follow their streams", lambda: all_ready(sum(pairs, [])), 20)
            for _ in range(ROUNDS):
                for name, gateways, more in [("alone", [alone], []), ("1 server", pairs[0], []), ("3 servers", pairs[1], []), ("plain NATS", [], ["--target", "nats"])]:
                    found.setdefault(name, []).append(await loadtest(gateways, *load, *more))
        finally:
            for gateway in sum(pairs, []):
                gateway.__exit__(None)
    return "; ".join(f"{name}: p50 {median(reports, 'latency', 'p50'):.0f} us, p99 {median(reports, 'latency', 'p99'):.0f} us" for name, reports in found.items())


async def fill(port, subjects, window=2000):
    """Stores a message in each of `subjects`, `window` at a time."""
    client = await nats.Client.open(port)
    acks = client.subscribe(f"{client.inbox}.ack")
    for start in range(0, len(subjects), window):
        batch = subjects[start : start + window]
        client.writer.write(b"".join(f"PUB {subject} {client.inbox}.ack {len(PAYLOAD)}\r\n".encode() + PAYLOAD + b"\r\n" for subject in batch))
        for _ in batch:
            await asyncio.wait_for(acks.get(), 30)
    client.close()


async def start_up():
    """A start with a stream of 500,000 messages in 100,000 topics, until /readyz answers 200."""
    took, memory = [], 0
    with Servers(1) as servers:
        text = settings(servers.urls, retain=20, history=10)
        with Process(text) as maker:
            await eventually("the stream is made", lambda: all_ready([maker]), 20)
        for _ in range(5):
            await fill(servers.all[0].port, [f"chat.t{number}" for number in range(100_000)])
        for _ in range(ROUNDS):
            with Process(text) as gateway:
                started = time.monotonic()
                while gateway.status("/readyz") != 200:
                    await asyncio.sleep(0.01)
                took.append(time.monotonic() - started)
                cpu, memory = gateway.cpu_seconds(), gateway.rss()
    return f"500,000 messages in 100,000 topics: ready after {statistics.median(took):.1f} s, {cpu:.1f} s of CPU, {memory >> 20} MiB resident"


async def following():
    """A NATS client's messages, as fast as one server stores them, at a gateway without subscribers."""
    count = 200_000
    with Servers(1) as servers, Process(settings(servers.urls, retain=count)) as gateway:
        await eventually("it follows the stream", lambda: all_ready([gateway]), 20)
        subjects = [f"chat.t{number % 100}" for number in range(count)]
        before, started = gateway.cpu_seconds(), time.monotonic()
        await fill(servers.all[0].port, subjects)
        while gateway.total("cluster_received_total") < count:
            await asyncio.sleep(0.01)
        seconds, cpu = time.monotonic() - started, gateway.cpu_seconds() - before
        loads = gateway.total("cluster_loads_total")
    assert loads == 1, f"the gateway read the stream {loads} times"
    return f"following: {count / seconds:,.0f} messages a second as they were stored, {cpu / count * 1e6:.1f} us of CPU each, so {count / cpu:,.0f} a second at most"


async def publishing():
    """Sessions that publish as fast as acknowledgements come; each message goes to one subscriber."""
    found = {}
    with Servers(1) as r1, Servers(3) as r3:
        for name, servers in (("1 server", r1), ("3 servers", r3)):
            with Process(settings(servers.urls, len(servers.all), retain=1_000_000)) as gateway:
                await eventually("it follows the stream", lambda: all_ready([gateway]), 20)
                found[name] = await loadtest([gateway], "--clustered", "-n", "1", "--ahead", "2000", "--publishers", "16", "--duration", "5")
    return "publishing: " + "; ".join(
        f"{name} {report['deliveries'] / report['measured_s']:,.0f} messages a second, {report['server']['cpu_us_per_delivery']:.1f} us of the gateway's CPU each"
        for name, report in found.items()
    )


FIGURES = {"cost-of-a-delivery": cost_of_a_delivery, "latency": latency, "start-up": start_up, "following": following, "publishing": publishing}
