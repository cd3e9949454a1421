"""A storm of faults at three NATS servers and three gateways, and a check of all messages."""

import asyncio
import json
import random

import nats
from clients import ForeignPublisher, HttpPublisher, SessionPublisher, Subscriber
from checker import Checker
from process import DEADLINE_FACTOR, Process
from servers import Servers, free_port
from storm import Storm
from links import Links

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


def make_clients(gateways, ports, checker, seed):
    """Subscribers that move, by names and by patterns; one by pattern pinned to each gateway; publishers of each kind."""
    rng = random.Random(f"clients {seed}")
    topics = [f"chat.g{group}.t{topic}" for topic in range(TOPICS_PER_GROUP) for group in range(GROUPS)]
    subscribers = [Subscriber(f"pinned{index}", gateways, topics, checker, rng, RULE, index) for index in range(len(gateways))]
    for index in range(SUBSCRIBERS):
        if index % 4 == 3:
            group = f"chat.g{index % GROUPS}."
            covered, pattern = [topic for topic in topics if topic.startswith(group)], f"{group}*"
        else:
            covered, pattern = rng.sample(topics, 8), None
        pinned = index % len(gateways) if index % 4 == 1 else None
        subscribers.append(Subscriber(f"s{index}", gateways, covered, checker, rng, pattern, pinned))
    publishers = [SessionPublisher(gateways, f"session{index}", topics, checker, rng, RATE / 4) for index in range(3)]
    publishers.append(HttpPublisher(gateways, "http", topics, checker, rng, RATE / 8))
    publishers.append(ForeignPublisher(ports, "foreign", topics, checker, rng, RATE / 8))
    return topics, subscribers, publishers


async def chaos(storage, seed, seconds):
    with Servers(3) as servers:
        links = [await Links(servers).start() for _ in range(3)]
        gateways = []
        try:
            for link in links:
                gateways.append(await asyncio.to_thread(Process, configuration(link.urls, storage), port=free_port()))
            await eventually("all gateways follow the stream", lambda: all_ready(gateways), 20)
            return await run(storage, seed, seconds, servers, gateways, links)
        except BaseException:
            for index, gateway in enumerate(gateways):
                print("".join(f"    gateway {index}: {line}\n" for line in gateway.log_tail()), end="", flush=True)
            raise
        finally:
            for gateway in gateways:
                gateway.__exit__(None)
            for link in links:
                await link.stop()


async def run(storage, seed, seconds, servers, gateways, links):
    checker, storm = Checker(), Storm(seed, servers, gateways, links, STREAM)
    topics, subscribers, publishers = make_clients(gateways, storm.ports, checker, seed)
    tasks = [asyncio.ensure_future(one.run()) for one in [*subscribers, *publishers]]
    try:
        await storm.run(seconds)
        for publisher in publishers:
            publisher.publishes = False
        await eventually("all gateways follow the stream", lambda: all_ready(gateways), 60)
        await await_last_messages(topics, subscribers, publishers)
    except AssertionError as error:
        raise AssertionError(f"{error}\n    {summary(storage, seed, storm, checker)}\n    {'; '.join(checker.faults)}") from None
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    broken = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
    assert not broken, f"a client of the test failed: {broken[:3]!r}"
    for number, subject, payload in await nats.read_stream(storm.ports, STREAM):
        if not subject.startswith("$"):
            checker.record("the stream", epoch_now(subscribers), number, subject, json.loads(payload)["m"])
    for gateway in gateways:
        await asyncio.to_thread(gateway.close_accounts, RULE)
    checker.counts["sent"] = sum(publisher.sent for publisher in publishers)
    checker.counts["refused"] = sum(publisher.refused for publisher in publishers)
    faults = checker.close()
    if storage == "file" and checker.counts["epochs"] > 1:
        faults.append(f"a file stream keeps its epoch, and there were {checker.counts['epochs']}")
    assert not faults, "\n    ".join([summary(storage, seed, storm, checker), *faults])
    return summary(storage, seed, storm, checker)


def summary(storage, seed, storm, checker):
    counts = ", ".join(f"{name} {count}" for name, count in sorted(checker.counts.items()))
    return f"{storage}, seed {seed}: {counts}; {'; '.join(storm.events)}"


async def await_last_messages(topics, subscribers, publishers):
    """Publishes a last message to each topic, and waits until every subscriber has it; a thawed server may add later ones."""
    http = next(publisher for publisher in publishers if isinstance(publisher, HttpPublisher))
    for subscriber in subscribers:
        subscriber.moves = False
    unsubscribed = lambda: [one.name for one in subscribers if not one.answered]
    await eventually(lambda: f"every client is subscribed; not {unsubscribed()}", lambda: not unsubscribed(), 20)
    for topic in topics:
        published = False
        while not published:
            content, port = f"last-{next(http.numbers)}", http.gateways[0].port
            receivers = [one for one in subscribers if topic in one.topics]
            for one in receivers:
                one.expected.add(content)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            published = await http.post(reader, writer, port, topic, content)
            writer.close()
            if not published:
                for one in receivers:
                    one.expected.discard(content)
    behind = lambda: [one.name for one in subscribers if one.expected]
    await eventually(lambda: f"every subscriber has the last messages; not {behind()}", lambda: not behind(), 20)


def epoch_now(subscribers):
    """The epoch of the last messages, which must be the same for all subscribers."""
    epochs = {run.epoch for one in subscribers for run in one.runs.values() if any(content.startswith("last-") for _, content in run.messages)}
    assert len(epochs) == 1, f"the last messages have the epochs {epochs}"
    return epochs.pop()


async def all_ready(gateways):
    return all([await asyncio.to_thread(gateway.status, "/readyz") == 200 for gateway in gateways])


async def eventually(what, fact, seconds):
    """As `until`, while other tasks of this process run."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_FACTOR * seconds
    while True:
        found = fact()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert loop.time() < deadline, f"not within {DEADLINE_FACTOR * seconds} s: {what() if callable(what) else what}"
        await asyncio.sleep(0.1)
