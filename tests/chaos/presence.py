"""Presence while members crash, subscribe and unsubscribe: in the end the list and the watchers agree with the sessions."""

import asyncio
import json
import random
import time

from client_process import ClientProcess, replace_some
from worker import Worker, Flags
from gateway import Gateway
from process import until
from websocket import connect

RULES = '[[topics]]\nmatch = "meet.>"\npresence = true\nhistory = 10\n'
TOPICS = [f"meet.t{index}" for index in range(5)]


class Member:
    """Subscribes, unsubscribes and drops at random while the flag `drops` is set."""

    def __init__(self, port):
        self.port, self.session, self.websocket = port, None, None
        self.topics, self.answered = set(), asyncio.Event()

    async def run(self, flags):
        while not flags["ends"]:
            try:
                self.websocket = await connect(self.port, self.receive)
            except (OSError, asyncio.TimeoutError):
                await asyncio.sleep(0.05)
                continue
            self.topics = set()
            while not self.websocket.closed.done() and not flags["ends"]:
                if flags["drops"]:
                    await self.change()
                else:
                    await asyncio.sleep(0.05)

    async def change(self):
        topic = random.choice(TOPICS)
        choice = random.randrange(10)
        if choice < 5:
            self.topics.add(topic)
            self.websocket.send_command({"op": "subscribe", "topics": [topic], "presence": random.random() < 0.3})
        elif choice < 8:
            self.topics.discard(topic)
            self.websocket.send_command({"op": "unsubscribe", "topics": [topic]})
        elif choice == 8 and random.random() < 0.2:
            random.choice((self.websocket.cut, self.websocket.reset, lambda: self.websocket.cut_mid_frame(9)))()
            await self.websocket.closed
        await asyncio.sleep(random.expovariate(1 / 0.05))

    def receive(self, text):
        event = json.loads(text)
        if event["op"] == "welcome":
            self.session = event["session"]
        elif event["op"] == "error" and event["code"] != "not_subscribed":
            raise AssertionError(f"a member got {event}")


async def watch(port, flags):
    """Tracks the members of each topic by joins and leaves; returns them, and the numbers of events."""
    members = {topic: set() for topic in TOPICS}
    ready, listed, faults = asyncio.Event(), {}, []
    counts = {"join": 0, "leave": 0}

    def receive(text):
        event = json.loads(text)
        op = event["op"]
        if op == "presence":
            listed[event["topic"]] = {member["session"] for member in event["members"]}
            members[event["topic"]] = set(listed[event["topic"]])
            if len(listed) == len(TOPICS):
                ready.set()
        elif op in counts:
            counts[op] += 1
            present, session = members[event["topic"]], event["member"]["session"]
            if event["topic"] in listed and (op == "join") == (session in present):
                faults.append(f"{op} of {session} on {event['topic']}, which {'was' if session in present else 'was not'} a member")
            (present.add if op == "join" else present.discard)(session)

    websocket = await connect(port, receive)
    # By pattern, so that the watcher is no member itself; before the first member subscribes.
    websocket.send_command({"op": "subscribe", "id": 1, "topics": ["meet.>"], "presence": True})
    for topic in TOPICS:
        websocket.send_command({"op": "presence", "id": topic, "topic": topic})
    await asyncio.wait_for(ready.wait(), 40)
    while not flags["ends"]:
        await asyncio.sleep(0.05)
    assert not faults, f"{len(faults)} joins and leaves are wrong: {faults[0]}"
    return {topic: sorted(present) for topic, present in members.items()}, counts


def crashing_members(long):
    """Members that crash, subscribe and unsubscribe: joins and leaves alternate, and the list has exactly the members."""
    count, seconds = (200, 30) if long else (60, 5)
    flags, watching = Flags(), Flags()
    with Gateway(rules=RULES) as gateway:
        watcher = Worker(watch, gateway.port, watching)
        until("the watcher is subscribed", lambda: gateway.total("subscriptions") == 1, 10)
        clients = [ClientProcess(flags, lambda: [Member(gateway.port).run(flags) for _ in range(count // 3)]) for _ in range(3)]
        flags["drops"] = True
        replace_some(clients, seconds, (0.5, 1.0))
        flags["drops"] = False
        until("each member has a session", lambda: gateway.total("sessions") == count // 3 * 3 + 1, 10)
        time.sleep(0.5)
        listed = {}
        for topic in TOPICS:
            status, body = gateway.request("GET", f"/v1/topics/{topic}/presence")
            listed[topic] = sorted(member["session"] for member in json.loads(body)["members"]) if status == 200 else []
        subscriptions = gateway.total("subscriptions") - 1
        watching["ends"] = True
        watched, counts = watcher.result(10)
        flags["ends"] = True
        for client in clients:
            client.end()
        listed_count = sum(len(members) for members in listed.values())
        assert watched == listed, "the watcher's lists differ: " + ", ".join(
            f"{topic}: {len(set(watched[topic]) - set(listed[topic]))} too many, {len(set(listed[topic]) - set(watched[topic]))} missing" for topic in TOPICS
        )
        assert listed_count == subscriptions, f"{listed_count} members are listed, the sessions hold {subscriptions} subscriptions"
        return f"{count // 3 * 3} members, {counts['join']} joins and {counts['leave']} leaves: {listed_count} present in the end, by the list and by the watcher"
