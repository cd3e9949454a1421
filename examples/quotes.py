"""Quotes that survive a lost connection: python quotes.py   (pip install websockets)"""
import asyncio
import json

from websockets.asyncio.client import connect

seen = {}  # topic -> the position of the newest message


async def main():
    async for socket in connect("ws://127.0.0.1:8765/ws"):  # connects again by itself, ever more slowly
        command = {"op": "subscribe", "id": 1, "topics": ["quotes.*"]}
        if seen:
            command["since"] = seen  # What was missed comes first, in order, each message once.
        await socket.send(json.dumps(command))
        async for text in socket:
            event = json.loads(text)
            if event["op"] == "message":
                seen[event["topic"]] = {"epoch": event["epoch"], "offset": event["offset"]}
                print(event["topic"], event["offset"], event["data"]["price"])
            elif event["op"] == "error":
                raise SystemExit(event["message"])


asyncio.run(main())
