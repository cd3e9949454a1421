"""The usual Python broadcast server: each text goes to everybody. Writes its address to --port-file."""

import argparse
import asyncio

from websockets.asyncio.server import broadcast, serve

SESSIONS = set()


async def session(socket):
    SESSIONS.add(socket)
    try:
        async for message in socket:
            broadcast(SESSIONS, message)
    finally:
        SESSIONS.discard(socket)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", required=True)
    arguments = parser.parse_args()
    async with serve(session, "127.0.0.1", 0, backlog=1024) as server:
        host, port = server.sockets[0].getsockname()[:2]
        with open(arguments.port_file, "w") as file:
            file.write(f"{host}:{port}")
        await server.serve_forever()


asyncio.run(main())
