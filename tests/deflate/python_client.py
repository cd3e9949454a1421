"""A client with a Python library's defaults: python_client.py LIBRARY URL. Sends each line of its input, prints each text."""

import asyncio
import os
import sys

import aiohttp
import websockets.asyncio.client


async def with_websockets(url, start_sending):
    async with websockets.asyncio.client.connect(url, max_size=None) as socket:
        start_sending(socket.send)
        async for text in socket:
            show(text)


async def with_aiohttp(url, start_sending):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=15, max_msg_size=0) as socket:
        start_sending(socket.send_str)
        async for message in socket:
            show(message.data)


def show(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main(library, url):
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    senders = set()

    def start_sending(send):
        async def send_lines():
            while line := await lines.readline():
                await send(line.decode().rstrip("\n"))
            os._exit(0)  # the end of the input ends the client

        senders.add(asyncio.create_task(send_lines()))

    await {"websockets": with_websockets, "aiohttp": with_aiohttp}[library](url, start_sending)


asyncio.run(main(*sys.argv[1:]))
