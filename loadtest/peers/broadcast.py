"""The usual Python broadcast server, with topics. Speaks the load test's `bare` dialect; writes its address to --port-file."""

import argparse
import asyncio
import os
from collections import defaultdict

from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

TOPICS = defaultdict(set)


async def session(socket):
    own = set()
    try:
        async for text in socket:
            word, _, rest = text.partition(" ")
            if word == "PUB":
                topic, _, payload = rest.partition("\n")
                broadcast(TOPICS[topic], payload)
            elif word == "SUB":
                for topic in rest.split():
                    TOPICS[topic].add(socket)
                    own.add(topic)
                await socket.send("SUB")
            else:
                await socket.close(1008, "write SUB or PUB")
    except ConnectionClosed:
        pass
    finally:
        for topic in own:
            TOPICS[topic].discard(socket)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", required=True)
    arguments = parser.parse_args()
    deflate = "deflate" if os.environ.get("PEER_DEFLATE") else None
    async with serve(session, "127.0.0.1", 0, backlog=1024, compression=deflate) as server:
        host, port = server.sockets[0].getsockname()[:2]
        with open(arguments.port_file, "w") as file:
            file.write(f"{host}:{port}")
        await server.serve_forever()


asyncio.run(main())
