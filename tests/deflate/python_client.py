"""A Python client as its library comes: python_client.py LIBRARY URL. Sends each line that it is given, and prints each text that it reads."""

import asyncio
import os
import sys

import aiohttp
import websockets.asyncio.client


async def with_websockets(url, told):
    async with websockets.asyncio.client.connect(url, max_size=None) as socket:
        told(socket.send)
        async for text in socket:
            show(text)


async def with_aiohttp(url, told):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=15, max_msg_size=0) as socket:
        told(socket.send_str)
        async for message in socket:
            show(message.data)


def show(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main(library, url):
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    senders = set()

    def told(send):
        async def pass_on():
            while line := await lines.readline():
                await send(line.decode().rstrip("\n"))
            os._exit(0)  # no more is wanted

        senders.add(asyncio.create_task(pass_on()))

    await {"websockets": with_websockets, "aiohttp": with_aiohttp}[library](url, told)


asyncio.run(main(*sys.argv[1:]))
