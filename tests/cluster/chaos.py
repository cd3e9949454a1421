"""A storm over three NATS servers and three gateways, with a ledger of all that was published, acknowledged and heard."""

import asyncio
import json
import random

import nats
from cast import ForeignPublisher, HttpPublisher, SessionPublisher, Subscriber
from judge import Judge
from process import PATIENCE, Process
from servers import Servers, free_port
from storm import Storm
from wires import Wires

STREAM, RULE = "CHAT", "chat.>"
HISTORY = 50
GROUPS, TOPICS_PER_GROUP = 3, 10
SUBSCRIBERS = 24
RATE = 320  # messages a second in all


def configuration(urls, storage):
    return f"""
[server]
shards = 2
[auth]
anonymous = {{ subscribe = ["{RULE}"], publish = ["{RULE}"] }}
[limits]
commands_per_second = 1000000
commands_burst = 1000000
[cluster]
urls = {json.dumps(urls)}
[[cluster.streams]]
name = "{STREAM}"
match = "{RULE}"
storage = "{storage}"
retain = {HISTORY + 1}
[[topics]]
match = "{RULE}"
history = {HISTORY}
"""


def cast(gateways, ports, judge, seed):
    """Hopping subscribers by names and by patterns, one by pattern that stays at each gateway, and publishers of each kind."""
    rng = random.Random(f"cast {seed}")
    topics = [f"chat.g{group}.t{topic}" for topic in range(TOPICS_PER_GROUP) for group in range(GROUPS)]
    subscribers = [Subscriber(f"anchored{index}", gateways, topics, judge, rng, RULE, index) for index in range(len(gateways))]
    for index in range(SUBSCRIBERS):
        if index % 4 == 3:
            group = f"chat.g{index % GROUPS}."
            covered, pattern = [topic for topic in topics if topic.startswith(group)], f"{group}*"
        else:
            covered, pattern = rng.sample(topics, 8), None
        anchored = index % len(gateways) if index % 4 == 1 else None
        subscribers.append(Subscriber(f"s{index}", gateways, covered, judge, rng, pattern, anchored))
    publishers = [SessionPublisher(gateways, f"session{index}", topics, judge, rng, RATE / 4) for index in range(3)]
    publishers.append(HttpPublisher(gateways, "http", topics, judge, rng, RATE / 8))
    publishers.append(ForeignPublisher(ports, "foreign", topics, judge, rng, RATE / 8))
    return topics, subscribers, publishers


async def chaos(storage, seed, seconds):
    with Servers(3) as servers:
        wires = [await Wires(servers).start() for _ in range(3)]
        gateways = []
        try:
            for wire in wires:
                gateways.append(await asyncio.to_thread(Process, configuration(wire.urls, storage), port=free_port()))
            await eventually("all gateways follow the stream", lambda: all_ready(gateways), 20)
            return await run(storage, seed, seconds, servers, gateways, wires)
        except BaseException:
            for index, gateway in enumerate(gateways):
                print("".join(f"    gateway {index}: {line}\n" for line in gateway.log_tail()), end="", flush=True)
            raise
        finally:
            for gateway in gateways:
                gateway.__exit__(None)
            for wire in wires:
                await wire.stop()


async def run(storage, seed, seconds, servers, gateways, wires):
    judge, storm = Judge(), Storm(seed, servers, gateways, wires, STREAM)
    topics, subscribers, publishers = cast(gateways, storm.ports, judge, seed)
    lives = [asyncio.ensure_future(one.live()) for one in [*subscribers, *publishers]]
    try:
        await storm.rage(seconds)
        for publisher in publishers:
            publisher.publishes = False
        await eventually("all gateways follow the stream", lambda: all_ready(gateways), 60)
        await everyone_hears_a_last_message(topics, subscribers, publishers)
    except AssertionError as error:
        raise AssertionError(f"{error}\n    {story(storage, seed, storm, judge)}\n    {'; '.join(judge.faults)}") from None
    finally:
        for life in lives:
            life.cancel()
        ended = await asyncio.gather(*lives, return_exceptions=True)
    broken = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
    assert not broken, f"a part of the test has ended: {broken[:3]!r}"
    for number, subject, payload in await nats.read_stream(storm.ports, STREAM):
        if not subject.startswith("$"):
            judge.note("the stream", epoch_now(subscribers), number, subject, json.loads(payload)["m"])
    for gateway in gateways:
        await asyncio.to_thread(gateway.close_accounts, RULE)
    judge.counts["sent"] = sum(publisher.sent for publisher in publishers)
    judge.counts["refused"] = sum(publisher.refused for publisher in publishers)
    faults = judge.close()
    if storage == "file" and judge.counts["epochs"] > 1:
        faults.append(f"files outlive their servers, and there were {judge.counts['epochs']} epochs")
    assert not faults, "\n    ".join([story(storage, seed, storm, judge), *faults])
    return story(storage, seed, storm, judge)


def story(storage, seed, storm, judge):
    counts = ", ".join(f"{name} {count}" for name, count in sorted(judge.counts.items()))
    return f"{storage}, seed {seed}: {counts}; {'; '.join(storm.events)}"


async def everyone_hears_a_last_message(topics, subscribers, publishers):
    """One on each topic, which nobody may miss; what a server held back while it was frozen may still come after it."""
    http = next(publisher for publisher in publishers if isinstance(publisher, HttpPublisher))
    for subscriber in subscribers:
        subscriber.hops = False
    away = lambda: [one.name for one in subscribers if not one.answered]
    await eventually(lambda: f"everyone is subscribed; not {away()}", lambda: not away(), 20)
    for topic in topics:
        reached = False
        while not reached:
            content, port = f"last-{next(http.numbers)}", http.gateways[0].port
            followers = [one for one in subscribers if topic in one.topics]
            for one in followers:
                one.awaited.add(content)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            reached = await http.post(reader, writer, port, topic, content)
            writer.close()
            if not reached:
                for one in followers:
                    one.awaited.discard(content)
    behind = lambda: [one.name for one in subscribers if one.awaited]
    await eventually(lambda: f"everyone hears the last messages; not {behind()}", lambda: not behind(), 20)


def epoch_now(subscribers):
    """The epoch of the last messages, which all agree on."""
    epochs = {run.epoch for one in subscribers for run in one.runs.values() if any(content.startswith("last-") for _, content in run.got)}
    assert len(epochs) == 1, f"the last messages have the epochs {epochs}"
    return epochs.pop()


async def all_ready(gateways):
    return all([await asyncio.to_thread(gateway.status, "/readyz") == 200 for gateway in gateways])


async def eventually(what, fact, seconds):
    """As `until`, for facts that others in this process bring about."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE * seconds
    while True:
        found = fact()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert loop.time() < deadline, f"not within {PATIENCE * seconds} s: {what() if callable(what) else what}"
        await asyncio.sleep(0.1)
