"""What an operator does and meets: a part that dies, more gateways, servers that don't serve."""

import asyncio
import json
import os
import random
import re
import subprocess
import tempfile
import time

import nats
from cast import SessionPublisher, Subscriber
from chaos import RULE, STREAM, all_ready, configuration, eventually
from figures import LOADTEST
from judge import Judge
from process import BINARY, Process, Skipped
from servers import Servers, free_port
from wires import Wires

TOPICS = [f"chat.t{number}" for number in range(8)]
PER_GATEWAY = 8
CUT_OFF = 5  # seconds that a gateway is without the servers


def settings(urls, replicas=3):
    """Histories that reach over each pause of these scenarios."""
    text = configuration(urls, "file").replace("history = 50", "history = 1000")
    return text.replace("retain = 51", f"retain = 2000\nreplicas = {replicas}")


def alone():
    """The same gateway without a cluster."""
    return re.sub(r"\[cluster\].*?(?=\[\[topics\]\])", "", settings([]), flags=re.DOTALL).replace("shards = 2", 'shards = 2\ndrain = "3s"')


class Timed(Subscriber):
    """A subscriber that notes when it hears something, and stays until it is sent away."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.hops, self.arrivals = False, []

    def take(self, topic, message):
        self.arrivals.append(time.monotonic())
        super().take(topic, message)


def words(report):
    """What is wrong in a report of the load test."""
    report = json.loads(report or "{}")
    return {key: report.get(key) for key in ("failures", "verdict", "figures")}


async def failover():
    """A gateway is killed, the stream's leader is killed, a gateway is cut off, under the load test's failover: how long sessions heard nothing."""
    with Servers(3) as servers, tempfile.TemporaryDirectory() as folder:
        wires = [await Wires(servers).start() for _ in range(3)]
        gateways = [await asyncio.to_thread(Process, settings(wire.urls), port=free_port()) for wire in wires]

        async def kill_leader():
            leader = (await nats.ask_any([server.port for server in servers.all], f"STREAM.INFO.{STREAM}"))["cluster"]["leader"]
            servers.all.sort(key=lambda server: server.name != leader)
            await asyncio.to_thread(servers.all[0].kill)

        async def start_server():
            await asyncio.to_thread(lambda: servers.all[0].start().wait(60))

        acts = [
            (3, lambda: asyncio.to_thread(gateways[0].kill)),
            (6, lambda: asyncio.to_thread(gateways[0].start)),
            (10, kill_leader),
            (22, start_server),
            (30, wires[2].cut),
            (30 + CUT_OFF, wires[2].mend),
        ]

        async def play():
            """Each act, once the load test says that it is due: by a file, which its shell makes."""
            for seconds, act in acts:
                while not os.path.exists(f"{folder}/{seconds}"):
                    await asyncio.sleep(0.005)
                if (doing := act()) is not None:
                    await doing

        command = [LOADTEST, "failover", "--json", "-n", "120", "--rate", "120", "--duration", "42"]
        for gateway in gateways:
            command += ["--url", f"ws://127.0.0.1:{gateway.port}/ws"]
        for seconds, _ in acts:
            command += ["--fault", f"{seconds}s=touch {folder}/{seconds}"]
        playing = asyncio.ensure_future(play())
        try:
            await eventually("all gateways follow the stream", lambda: all_ready(gateways), 20)
            done = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
            assert done.returncode == 0, f"{done.stderr}{words(done.stdout)}"
            await playing
            for gateway in gateways:
                await asyncio.to_thread(gateway.close_accounts, RULE)
            report = json.loads(done.stdout)
            figures, verdict = report["figures"], report["verdict"]

            def silence(number):
                median, longest = (figures[f"silence_after_fault_{number}_{which}_s"] for which in ("median", "longest"))
                return f"the longest silence {longest:.2f} s, of half of the sessions {median:.2f} s at most"

            acknowledged, refused = figures["publishes_acknowledged"], figures["publishes_refused"]
            recovered, anew = verdict["recovered"]
            return (
                f"a gateway is killed: {silence(1)}; the leader is killed: {silence(3)}; cut off: {figures['silence_after_fault_6_longest_s'] - CUT_OFF:.2f} s "
                f"until all hear again; {recovered} topics recovered, {anew} not; {acknowledged:.0f} acknowledged, {refused:.0f} refused, none lost, doubled or out of order"
            )
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            for gateway in gateways:
                gateway.__exit__(None)
            for wire in wires:
                await wire.stop()


async def one_to_three():
    """A gateway alone gives way to three of a cluster, as docs/cluster.md says, under load: publishing never pauses, and each topic is told once to begin anew."""
    judge, rng = Judge(), random.Random(0)
    with Process(alone(), port=free_port()) as first, Servers(3) as servers:
        gateways = [first]  # whom the load balancer knows
        subscribers = [Timed(f"s{index}", gateways, TOPICS, judge, rng) for index in range(3 * PER_GATEWAY)]
        publishers = [SessionPublisher(gateways, f"p{index}", TOPICS, judge, rng, 60) for index in range(3)]
        lives = [asyncio.ensure_future(one.live()) for one in [*subscribers, *publishers]]
        added = []
        try:
            await eventually("everyone hears", lambda: all(one.arrivals for one in subscribers), 20)
            for _ in range(3):
                added.append(await asyncio.to_thread(Process, settings(servers.urls), port=free_port()))
                await eventually("it follows the stream", lambda: all_ready(added), 20)
                if len(added) == 1:
                    moved = time.monotonic()
                    gateways[:] = added
                    await asyncio.to_thread(first.stop)
                    drained = time.monotonic() - moved
                gateways[:] = added
            for one in subscribers:
                one.hops = True  # they spread over the three
            began = time.monotonic()
            await eventually("everyone hears from the three", lambda: time.monotonic() > began + 7 and all(one.arrivals[-1] > began for one in subscribers), 20)
            silences = sorted(max(after - before for before, after in zip(one.arrivals, one.arrivals[1:])) for one in subscribers)
            for publisher in publishers:
                publisher.publishes = False
            await asyncio.sleep(1)
            faults = judge.close()
            assert not faults, "\n    ".join(faults)
            begun_anew, wanted = judge.counts["not recovered"], len(subscribers) * len(TOPICS)
            assert begun_anew == wanted, f"{begun_anew} topics began anew; each of {wanted} should once"
            refused = sum(publisher.refused for publisher in publishers)
            assert not refused, f"{refused} publishes were refused"
            return f"drained in {drained:.1f} s; no publish of {judge.counts['acknowledged']} refused; the longest silence of a session {silences[-1]:.2f} s"
        finally:
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
            for gateway in added:
                gateway.__exit__(None)


def check_online(text):
    """What `belfry check --online` answers: its status and all that it says."""
    with Scratch(text) as file:
        done = subprocess.run([BINARY, "check", "--online", "--config", file], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


class Scratch:
    """A configuration file, for as long as the `with` lasts."""

    def __init__(self, text):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.file.write(text)
        self.file.flush()

    def __enter__(self):
        return self.file.name

    def __exit__(self, *_):
        self.file.close()


async def tried_before():
    """`belfry check --online` makes what is missing, and says what to do about what does not serve; a start refuses the same."""
    with Servers(1) as servers:
        ports = [server.port for server in servers.all]
        text = settings(servers.urls, replicas=1)
        status, words = await asyncio.to_thread(check_online, text)
        assert status == 0, words
        info = await nats.ask_any(ports, f"STREAM.INFO.{STREAM}")
        assert info["config"]["max_msgs_per_subject"] == 2000, info
        overlapping = text.replace(f'name = "{STREAM}"', 'name = "OTHER"')
        status, words = await asyncio.to_thread(check_online, overlapping)
        assert status == 1 and "OTHER can't be made" in words and "chat.>" in words, words
        longer = text.replace("history = 1000", "history = 2500").replace("retain = 2000", "retain = 3000")
        status, words = await asyncio.to_thread(check_online, longer)
        assert status == 1 and "max_msgs_per_subject = 2000" in words and "2501" in words, words
        large = text.replace("[limits]", "[limits]\nmessage_bytes = 2000000")
        status, words = await asyncio.to_thread(check_online, large)
        assert status == 1 and "max_payload" in words, words
        servers.all[0].kill()
        status, words = await asyncio.to_thread(check_online, text)
        assert status == 1 and servers.urls[0] in words, words
    return "missing streams are made; overlapping ones, those that keep too little, short payloads and absent servers are told"


async def old_servers():
    """Servers whose replicas may number messages differently after a failure are refused."""
    binary = os.environ.get("NATS_SERVER_OLD")
    if not binary:
        raise Skipped("needs a nats-server older than 2.10.26 as NATS_SERVER_OLD")
    with Servers(1, binary) as servers:
        text = settings(servers.urls, replicas=1)
        status, words = await asyncio.to_thread(check_online, text)
        assert status == 1 and "2.10.26" in words and "update all servers" in words, words
        with Scratch(text) as file:
            command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--config", file]
            done = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True, timeout=60, check=False))
        assert done.returncode == 1 and "2.10.26" in done.stdout + done.stderr, done
        info = await nats.ask_any([server.port for server in servers.all], "STREAM.NAMES")
        assert not info.get("streams"), f"a stream was made all the same: {info}"
    return "neither check --online nor a start takes them"
