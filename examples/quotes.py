"""Prints quotes, and resumes after a lost connection: python quotes.py [url]   (pip install websockets)"""
import asyncio
import json
import sys

try:
    from websockets.asyncio.client import connect, process_exception
except ImportError as error:
    raise SystemExit(f"{error}; run `pip install websockets`")

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765/ws"
seen = {}  # topic -> the position of the newest message


def explain(error):
    """Prints why there is no connection. `connect` tries again with a growing delay, unless the error is permanent."""
    print(f"no gateway at {url}: {error} (`belfry serve` starts one)", file=sys.stderr, flush=True)
    return process_exception(error)


async def main():
    async for socket in connect(url, process_exception=explain):
        command = {"op": "subscribe", "id": 1, "topics": ["quotes.*"]}
        if seen:
            command["since"] = seen  # Missed messages are replayed first, in order, each once.
        await socket.send(json.dumps(command))
        async for text in socket:
            event = json.loads(text)
            if event["op"] == "message":
                seen[event["topic"]] = {"epoch": event["epoch"], "offset": event["offset"]}
                print(event["topic"], event["offset"], event["data"]["price"], flush=True)
            elif event["op"] == "error":
                raise SystemExit(event["message"])


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
