"""What an operator does and meets: a part that dies, more gateways, servers that don't serve."""

import asyncio
import os
import random
import re
import statistics
import subprocess
import tempfile
import time

import nats
from cast import SessionPublisher, Subscriber
from chaos import RULE, STREAM, all_ready, configuration, eventually
from judge import Judge
from process import BINARY, Process, Skipped
from servers import Servers, free_port
from wires import Wires

TOPICS = [f"chat.t{number}" for number in range(8)]
PER_GATEWAY = 8


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

    def silence(self, since):
        """From `since` to the first message that came after a pause of 200 ms, or 0 where there was none."""
        arrivals = [since, *(moment for moment in self.arrivals if moment > since)]
        return max((after - since for before, after in zip(arrivals, arrivals[1:]) if after - before > 0.2), default=0)


async def failover():
    """A gateway is killed, the stream's leader is killed, a gateway is cut off: how long until messages come again, and what is lost."""
    figures, judge = [], Judge()
    with Servers(3) as servers:
        wires = [await Wires(servers).start() for _ in range(3)]
        gateways = [await asyncio.to_thread(Process, settings(wire.urls), port=free_port()) for wire in wires]
        lives = []
        try:
            await eventually("all gateways follow the stream", lambda: all_ready(gateways), 20)
            rng = random.Random(0)
            alive = list(gateways)
            homes = [[Timed(f"s{home}.{index}", alive, TOPICS, judge, rng, None, home) for index in range(PER_GATEWAY)] for home in range(3)]
            publishers = [SessionPublisher(alive[home : home + 1], f"p{home}", TOPICS, judge, rng, 60) for home in range(3)]
            lives = [asyncio.ensure_future(one.live()) for one in [*sum(homes, []), *publishers]]
            await eventually("everyone hears", lambda: all(one.arrivals for home in homes for one in home), 20)

            async def act(words, affected, breaks, mends, seconds):
                before = judge.counts.copy()
                broke = time.monotonic()
                await breaks()
                await asyncio.sleep(seconds)
                mended = time.monotonic()
                await mends()
                await eventually("all gateways follow the stream", lambda: all_ready(gateways), 30)
                began = broke if words != "cut off" else mended
                await eventually("they hear again", lambda: all(one.arrivals[-1] > began + 1 for one in affected), 30)
                silences = sorted(one.silence(broke) - (began - broke) for one in affected)
                told = {name: judge.counts[name] - before[name] for name in ("gaps", "recovered", "not recovered")}
                figures.append(f"{words}: first message after {statistics.median(silences):.2f} s (the last of {len(affected)} sessions {silences[-1]:.2f} s), "
                               f"{told['recovered']} topics recovered, {told['not recovered']} not, {told['gaps']} gaps")  # fmt: skip

            async def kill_gateway():
                for one in homes[0]:
                    one.anchored = 1  # a load balancer sends them on
                await asyncio.to_thread(gateways[0].kill)

            await act("a gateway is killed", homes[0], kill_gateway, lambda: asyncio.to_thread(gateways[0].start), 3)
            leader = (await nats.ask_any([server.port for server in servers.all], f"STREAM.INFO.{STREAM}"))["cluster"]["leader"]
            victim = next(server for server in servers.all if server.name == leader)

            async def start_again():
                await asyncio.to_thread(lambda: victim.start().wait(60))

            await act("the leader is killed", sum(homes, []), lambda: asyncio.to_thread(victim.kill), start_again, 12)

            async def cut():
                wires[2].cut()

            async def mend():
                wires[2].mend()

            await act("cut off", homes[2], cut, mend, 5)
            for publisher in publishers:
                publisher.publishes = False
            await asyncio.sleep(1)
            for gateway in gateways:
                await asyncio.to_thread(gateway.close_accounts, RULE)
            faults = judge.close()
            assert not faults, "\n    ".join(faults)
            refused = sum(publisher.refused for publisher in publishers)
            return f"{'; '.join(figures)}; {judge.counts['acknowledged']} acknowledged, {refused} refused, none lost, doubled or out of order"
        finally:
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
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
