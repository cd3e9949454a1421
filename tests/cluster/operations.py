"""An operator's tasks: a failover, more gateways, and servers that `belfry check --online` rejects."""

import asyncio
import json
import os
import random
import re
import subprocess
import tempfile
import time

import nats
from clients import SessionPublisher, Subscriber
from chaos import RULE, STREAM, all_ready, configuration, eventually
from figures import LOADTEST
from checker import Checker
from process import BINARY, Process, Skipped
from servers import Servers, free_port
from links import Links

TOPICS = [f"chat.t{number}" for number in range(8)]
PER_GATEWAY = 8
CUT_OFF = 5  # seconds that a gateway has no connection to the servers


def settings(urls, replicas=3):
    """A configuration with histories longer than the messages in any pause of these scenarios."""
    text = configuration(urls, "file").replace("history = 50", "history = 1000")
    return text.replace("retain = 51", f"retain = 2000\nreplicas = {replicas}")


def alone():
    """The same configuration without a cluster."""
    return re.sub(r"\[cluster\].*?(?=\[\[topics\]\])", "", settings([]), flags=re.DOTALL).replace("shards = 2", 'shards = 2\ndrain = "3s"')


class Timed(Subscriber):
    """A subscriber that records the times of its messages, and stays until its session is closed."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.moves, self.arrivals = False, []

    def receive_message(self, topic, message):
        self.arrivals.append(time.monotonic())
        super().receive_message(topic, message)


def failures(report):
    """The failures in a report of the load test."""
    report = json.loads(report or "{}")
    return {key: report.get(key) for key in ("failures", "verdict", "figures")}


async def failover():
    """The longest silences when a gateway is killed, the stream's leader is killed, or a gateway is cut off."""
    with Servers(3) as servers, tempfile.TemporaryDirectory() as folder:
        links = [await Links(servers).start() for _ in range(3)]
        gateways = [await asyncio.to_thread(Process, settings(link.urls), port=free_port()) for link in links]

        async def kill_leader():
            leader = (await nats.ask_any([server.port for server in servers.all], f"STREAM.INFO.{STREAM}"))["cluster"]["leader"]
            servers.all.sort(key=lambda server: server.name != leader)
            await asyncio.to_thread(servers.all[0].kill)

        async def start_server():
            await asyncio.to_thread(lambda: servers.all[0].start().wait(60))

        faults = [
            (3, lambda: asyncio.to_thread(gateways[0].kill)),
            (6, lambda: asyncio.to_thread(gateways[0].start)),
            (10, kill_leader),
            (22, start_server),
            (30, links[2].cut),
            (30 + CUT_OFF, links[2].restore),
        ]

        async def cause_faults():
            """Causes each fault once the load test has made the fault's file."""
            for seconds, fault in faults:
                while not os.path.exists(f"{folder}/{seconds}"):
                    await asyncio.sleep(0.005)
                if (pending := fault()) is not None:
                    await pending

        command = [LOADTEST, "failover", "--json", "-n", "120", "--rate", "120", "--duration", "42"]
        for gateway in gateways:
            command += ["--url", f"ws://127.0.0.1:{gateway.port}/ws"]
        for seconds, _ in faults:
            command += ["--fault", f"{seconds}s=touch {folder}/{seconds}"]
        causing = asyncio.ensure_future(cause_faults())
        try:
            await eventually("all gateways follow the stream", lambda: all_ready(gateways), 20)
            done = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
            assert done.returncode == 0, f"{done.stderr}{failures(done.stdout)}"
            await causing
            for gateway in gateways:
                await asyncio.to_thread(gateway.close_accounts, RULE)
            report = json.loads(done.stdout)
            figures, verdict = report["figures"], report["verdict"]

            def silence(number):
                median, longest = (figures[f"silence_after_fault_{number}_{which}_s"] for which in ("median", "longest"))
                return f"the longest silence {longest:.2f} s, of half of the sessions {median:.2f} s at most"

            acknowledged, refused = figures["publishes_acknowledged"], figures["publishes_refused"]
            recovered, not_recovered = verdict["recovered"]
            return (
                f"a gateway is killed: {silence(1)}; the leader is killed: {silence(3)}; cut off: {figures['silence_after_fault_6_longest_s'] - CUT_OFF:.2f} s "
                f"until all receive again; {recovered} topics recovered, {not_recovered} not; {acknowledged:.0f} acknowledged, {refused:.0f} refused, none lost, twice or out of order"
            )
        finally:
            causing.cancel()
            await asyncio.gather(causing, return_exceptions=True)
            for gateway in gateways:
                gateway.__exit__(None)
            for link in links:
                await link.stop()


async def one_to_three():
    """From one gateway to a cluster of three under load, as in docs/cluster.md: no publish is refused."""
    checker, rng = Checker(), random.Random(0)
    with Process(alone(), port=free_port()) as first, Servers(3) as servers:
        gateways = [first]  # as the load balancer's list
        subscribers = [Timed(f"s{index}", gateways, TOPICS, checker, rng) for index in range(3 * PER_GATEWAY)]
        publishers = [SessionPublisher(gateways, f"p{index}", TOPICS, checker, rng, 60) for index in range(3)]
        tasks = [asyncio.ensure_future(one.run()) for one in [*subscribers, *publishers]]
        added = []
        try:
            await eventually("every subscriber has a message", lambda: all(one.arrivals for one in subscribers), 20)
            for _ in range(3):
                added.append(await asyncio.to_thread(Process, settings(servers.urls), port=free_port()))
                await eventually("the new gateways follow the stream", lambda: all_ready(added), 20)
                if len(added) == 1:
                    moved = time.monotonic()
                    gateways[:] = added
                    await asyncio.to_thread(first.stop)
                    drained = time.monotonic() - moved
                gateways[:] = added
            for one in subscribers:
                one.moves = True  # so that they spread over the three
            started = time.monotonic()
            await eventually("every subscriber has a message of the three", lambda: time.monotonic() > started + 7 and all(one.arrivals[-1] > started for one in subscribers), 20)
            silences = sorted(max(after - before for before, after in zip(one.arrivals, one.arrivals[1:])) for one in subscribers)
            for publisher in publishers:
                publisher.publishes = False
            await asyncio.sleep(1)
            faults = checker.close()
            assert not faults, "\n    ".join(faults)
            not_recovered, expected = checker.counts["not recovered"], len(subscribers) * len(TOPICS)
            assert not_recovered == expected, f"{not_recovered} topics were not recovered; each of {expected} should be so once"
            refused = sum(publisher.refused for publisher in publishers)
            assert not refused, f"{refused} publishes were refused"
            return f"drained in {drained:.1f} s; no publish of {checker.counts['acknowledged']} refused; the longest silence of a session {silences[-1]:.2f} s"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for gateway in added:
                gateway.__exit__(None)


def check_online(text):
    """The exit status and the output of `belfry check --online`."""
    with ConfigurationFile(text) as file:
        done = subprocess.run([BINARY, "check", "--online", "--config", file], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


class ConfigurationFile:
    """A configuration file that exists in a `with` block."""

    def __init__(self, text):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.file.write(text)
        self.file.flush()

    def __enter__(self):
        return self.file.name

    def __exit__(self, *_):
        self.file.close()


async def tried_before():
    """`belfry check --online` makes missing streams, and names what is wrong with servers and streams that do not fit."""
    with Servers(1) as servers:
        ports = [server.port for server in servers.all]
        text = settings(servers.urls, replicas=1)
        status, output = await asyncio.to_thread(check_online, text)
        assert status == 0, output
        info = await nats.ask_any(ports, f"STREAM.INFO.{STREAM}")
        assert info["config"]["max_msgs_per_subject"] == 2000, info
        overlapping = text.replace(f'name = "{STREAM}"', 'name = "OTHER"')
        status, output = await asyncio.to_thread(check_online, overlapping)
        assert status == 1 and "OTHER can't be made" in output and "chat.>" in output, output
        longer = text.replace("history = 1000", "history = 2500").replace("retain = 2000", "retain = 3000")
        status, output = await asyncio.to_thread(check_online, longer)
        assert status == 1 and "max_msgs_per_subject = 2000" in output and "2501" in output, output
        large = text.replace("[limits]", "[limits]\nmessage_bytes = 2000000")
        status, output = await asyncio.to_thread(check_online, large)
        assert status == 1 and "max_payload" in output, output
        servers.all[0].kill()
        status, output = await asyncio.to_thread(check_online, text)
        assert status == 1 and servers.urls[0] in output, output
    return "missing streams are made; overlapping or too short streams, a small max_payload and absent servers are named"


async def old_servers():
    """NATS servers whose replicas may disagree on a message's number after a failure are refused."""
    binary = os.environ.get("NATS_SERVER_OLD")
    if not binary:
        raise Skipped("needs a nats-server older than 2.10.26 as NATS_SERVER_OLD")
    with Servers(1, binary) as servers:
        text = settings(servers.urls, replicas=1)
        status, output = await asyncio.to_thread(check_online, text)
        assert status == 1 and "2.10.26" in output and "update all servers" in output, output
        with ConfigurationFile(text) as file:
            command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--config", file]
            done = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True, timeout=60, check=False))
        assert done.returncode == 1 and "2.10.26" in done.stdout + done.stderr, done
        info = await nats.ask_any([server.port for server in servers.all], "STREAM.NAMES")
        assert not info.get("streams"), f"a stream was made nevertheless: {info}"
    return "check --online and a start refuse them"
