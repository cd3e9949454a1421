"""A minimal NATS client: the text protocol, requests, and JetStream's API."""

import asyncio
import json
import os


class Client:
    """A connection to one server. Each subscription has a queue of (subject, headers, payload, reply)."""

    @classmethod
    async def open(cls, port, host="127.0.0.1"):
        self = cls()
        self.reader, self.writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2)
        await asyncio.wait_for(self.reader.readline(), 2)  # INFO
        self.writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true,"lang":"test"}\r\n')
        self.inbox, self.queues, self.answers, self.requests = f"_INBOX.{os.urandom(8).hex()}", {}, {}, 0
        self.reading = asyncio.ensure_future(self.read())
        self.subscribe(f"{self.inbox}.*", self.answers)
        return self

    def close(self):
        self.reading.cancel()
        self.writer.close()

    def subscribe(self, subject, queue=None):
        queue = asyncio.Queue() if queue is None else queue
        self.queues[str(len(self.queues) + 1)] = queue
        self.writer.write(f"SUB {subject} {len(self.queues)}\r\n".encode())
        return queue

    def publish(self, subject, payload=b"", reply="", headers=None):
        if headers:
            head = b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"
            self.writer.write(f"HPUB {subject} {reply} {len(head)} {len(head) + len(payload)}\r\n".encode() + head + payload + b"\r\n")
        else:
            self.writer.write(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    async def request(self, subject, payload=b"", seconds=2, headers=None):
        """The payload of the answer; `TimeoutError` without one, `ConnectionError` if the subject has no responder."""
        self.requests += 1
        number = self.requests
        answer = self.answers[str(number)] = asyncio.get_running_loop().create_future()
        try:
            self.publish(subject, payload, f"{self.inbox}.{number}", headers)
            return await asyncio.wait_for(answer, seconds)
        finally:
            del self.answers[str(number)]

    async def ask(self, operation, body=None, seconds=2):
        """JetStream's answer to an API request, as an object."""
        payload = json.dumps(body).encode() if body is not None else b""
        return json.loads(await self.request(f"$JS.API.{operation}", payload, seconds))

    async def read(self):
        try:
            while line := await self.reader.readline():
                word, *rest = line.split()
                if word == b"PING":
                    self.writer.write(b"PONG\r\n")
                elif word in (b"MSG", b"HMSG"):
                    await self.receive_message(word, [part.decode() for part in rest])
        except OSError:
            pass
        finally:
            for answer in self.answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the connection ended"))
                    answer.exception()

    async def receive_message(self, word, rest):
        subject, sid, *rest = rest
        sizes = [int(size) for size in rest[-(2 if word == b"HMSG" else 1) :]]
        reply = rest[0] if len(rest) > len(sizes) else ""
        body = (await self.reader.readexactly(sizes[-1] + 2))[:-2]
        head, payload = (body[: sizes[0]], body[sizes[0] :]) if word == b"HMSG" else (b"", body)
        queue = self.queues[sid]
        if queue is not self.answers:
            queue.put_nowait((subject, head, payload, reply))
        elif (answer := queue.get(subject.rpartition(".")[2])) and not answer.done():
            if head.startswith(b"NATS/1.0 503"):
                answer.set_exception(ConnectionError("no responder"))
            else:
                answer.set_result(payload)


async def ask_any(ports, operation, body=None, seconds=30):
    """JetStream's answer by any of the servers; retries while an election goes on."""
    loop = asyncio.get_running_loop()
    deadline, error = loop.time() + seconds, None
    while loop.time() < deadline:
        for port in ports:
            try:
                client = await Client.open(port)
            except (OSError, asyncio.TimeoutError):
                continue
            try:
                answer = await client.ask(operation, body)
                if answer.get("error", {}).get("code") != 503:
                    return answer
                error = answer["error"]
            except (OSError, asyncio.TimeoutError) as failure:
                error = failure
            finally:
                client.close()
        await asyncio.sleep(0.1)
    raise AssertionError(f"no answer to {operation} within {seconds} s: {error!r}")


async def read_stream(ports, name):
    """All messages of the stream: (number, subject, payload)."""
    state = (await ask_any(ports, f"STREAM.INFO.{name}"))["state"]
    if not state["messages"]:
        return []
    for port in ports:
        try:
            client = await Client.open(port)
        except (OSError, asyncio.TimeoutError):
            continue
        inbox = f"_INBOX.{os.urandom(8).hex()}"
        messages, found = client.subscribe(inbox), []
        config = {"deliver_subject": inbox, "deliver_policy": "all", "ack_policy": "none", "mem_storage": True, "num_replicas": 1}
        try:
            answer = await client.ask(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": config}, 5)
            assert "error" not in answer, f"{answer['error']}"
            while not found or found[-1][0] < state["last_seq"]:
                subject, _head, payload, reply = await asyncio.wait_for(messages.get(), 10)
                found.append((int(reply.split(".")[5]), subject, payload))
            return found
        finally:
            client.close()
    raise AssertionError("no NATS server can be reached")
