"""Who is there, while members crash, come twice and change their minds: in the end the list and the watchers agree with the truth."""

import asyncio
import json
import random
import time

from crew import Crew, replace_some
from errand import Errand, Flags
from gateway import Gateway
from process import until
from websocket import connect

RULES = '[[topics]]\nmatch = "meet.>"\npresence = true\nhistory = 10\n'
TOPICS = [f"meet.t{index}" for index in range(5)]


class Member:
    """Subscribes and unsubscribes at random, and drops in every way; at the end it stays where it is."""

    def __init__(self, port):
        self.port, self.session, self.websocket = port, None, None
        self.topics, self.answered = set(), asyncio.Event()

    async def live(self, flags):
        while not flags["ends"]:
            try:
                self.websocket = await connect(self.port, self.hear)
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
        what = random.randrange(10)
        if what < 5:
            self.topics.add(topic)
            self.websocket.say({"op": "subscribe", "topics": [topic], "presence": random.random() < 0.3})
        elif what < 8:
            self.topics.discard(topic)
            self.websocket.say({"op": "unsubscribe", "topics": [topic]})
        elif what == 8 and random.random() < 0.2:
            random.choice((self.websocket.cut, self.websocket.reset, lambda: self.websocket.cut_mid_frame(9)))()
            await self.websocket.closed
        await asyncio.sleep(random.expovariate(1 / 0.05))

    def hear(self, text):
        event = json.loads(text)
        if event["op"] == "welcome":
            self.session = event["session"]
        elif event["op"] == "error" and event["code"] != "not_subscribed":
            raise AssertionError(f"a member was told {event}")


async def watch(port, flags):
    """Keeps the members of each topic by joins and leaves; answers them, and the sums of events."""
    members = {topic: set() for topic in TOPICS}
    ready, listed, faults = asyncio.Event(), {}, []
    counts = {"join": 0, "leave": 0}

    def hear(text):
        event = json.loads(text)
        op = event["op"]
        if op == "presence":
            listed[event["topic"]] = {member["session"] for member in event["members"]}
            members[event["topic"]] = set(listed[event["topic"]])
            if len(listed) == len(TOPICS):
                ready.set()
        elif op in counts:
            counts[op] += 1
            there, session = members[event["topic"]], event["member"]["session"]
            if event["topic"] in listed and (op == "join") == (session in there):
                faults.append(f"{op} of {session} on {event['topic']} who {'was' if session in there else 'was not'} there")
            (there.add if op == "join" else there.discard)(session)

    websocket = await connect(port, hear)
    # By pattern, so that the watcher is no member itself; before the first member comes.
    websocket.say({"op": "subscribe", "id": 1, "topics": ["meet.>"], "presence": True})
    for topic in TOPICS:
        websocket.say({"op": "presence", "id": topic, "topic": topic})
    await asyncio.wait_for(ready.wait(), 40)
    while not flags["ends"]:
        await asyncio.sleep(0.05)
    assert not faults, f"{len(faults)} joins and leaves don't fit: {faults[0]}"
    return {topic: sorted(there) for topic, there in members.items()}, counts


def crashing_members(long):
    """Members that crash and change their minds: no join twice, no leave without one, and the list is who is there."""
    count, seconds = (200, 30) if long else (60, 5)
    flags, watching = Flags(), Flags()
    with Gateway(rules=RULES) as gateway:
        watcher = Errand(watch, gateway.port, watching)
        until("the watcher watches", lambda: gateway.total("subscriptions") == 1, 10)
        crews = [Crew(flags, lambda: [Member(gateway.port).live(flags) for _ in range(count // 3)]) for _ in range(3)]
        flags["drops"] = True
        replace_some(crews, seconds, (0.5, 1.0))
        flags["drops"] = False
        until("the members rest", lambda: gateway.total("sessions") == count // 3 * 3 + 1, 10)
        time.sleep(0.5)
        listed = {}
        for topic in TOPICS:
            status, body = gateway.request("GET", f"/v1/topics/{topic}/presence")
            listed[topic] = sorted(member["session"] for member in json.loads(body)["members"]) if status == 200 else []
        subscriptions = gateway.total("subscriptions") - 1
        watching["ends"] = True
        seen, counts = watcher.answer(10)
        flags["ends"] = True
        for crew in crews:
            crew.end()
        there = sum(len(members) for members in listed.values())
        assert seen == listed, "the watcher's lists differ: " + ", ".join(
            f"{topic}: {len(set(seen[topic]) - set(listed[topic]))} too many, {len(set(listed[topic]) - set(seen[topic]))} missing" for topic in TOPICS
        )
        assert there == subscriptions, f"{there} members are listed, {subscriptions} subscriptions are held by sessions that live"
        return f"{count // 3 * 3} members, {counts['join']} joins and {counts['leave']} leaves: {there} there in the end, by the list and by the watcher"
