"""A gateway as a process: tests start, query, measure, reload, kill and restart it on the same port."""

import functools
import http.client
import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("BELFRY", str(ROOT / "target" / "release" / "belfry"))
# Deadlines are this much longer than a wait should take, for a machine that is slow or busy.
DEADLINE_FACTOR = 4
SERIES = re.compile(r"^belfry_([a-z_]+)(?:\{(.*)\})? (\S+)$")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Skipped(Exception):
    """A scenario can't run on this machine; the message says what it needs."""


class Process:
    """One gateway; the end of the `with` block kills it. `config` is the text of its configuration file.

    `settings` are arguments of `--set`, and `wrapper` is a command that executes the gateway. `descriptors` lowers the
    limit of open files. `key` is the credential of `request`; `tls` says whether the gateway listens with TLS.
    """

    def __init__(self, config=None, settings=(), host="127.0.0.1", port=0, wrapper=(), descriptors=None, key=None, tls=False):
        self.folder = tempfile.TemporaryDirectory(prefix="belfry-test-")
        self.config = pathlib.Path(self.folder.name) / "belfry.toml"
        if config is not None:
            self.config.write_text(config)
        self.settings, self.host, self.port = settings, host, port
        self.wrapper, self.descriptors_max = wrapper, descriptors
        self.key, self.tls = key, tls
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+b")
        self.process = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.kill()
        if kind:
            print("".join("    gateway: " + line + "\n" for line in self.log_tail()), end="", flush=True)
        self.log.close()
        self.folder.cleanup()

    def start(self):
        """Starts the gateway, on its port from before, and waits until it listens; returns the time just before the start."""
        port_file = pathlib.Path(self.folder.name) / "port"
        port_file.unlink(missing_ok=True)
        command = [*self.wrapper, BINARY, "serve", "--listen", f"{self.host}:{self.port}", "--port-file", port_file, "--log", "warn"]
        if self.config.exists():
            command += ["--config", self.config]
        for setting in self.settings:
            command += ["--set", setting]
        started = time.monotonic()  # a subscriber may connect before the port file is read
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=self.limit_descriptors)
        deadline = started + DEADLINE_FACTOR * 20
        while not (port_file.exists() and port_file.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the gateway did not start: " + " ".join(self.log_tail()))
            time.sleep(0.005)
        self.port = int(port_file.read_text().strip().rpartition(":")[2])
        return started

    def limit_descriptors(self):
        if self.descriptors_max:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors_max, self.descriptors_max))

    def kill(self):
        """Sends SIGKILL, as the kernel's out-of-memory killer does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=20):
        """Sends SIGTERM, and checks that the gateway drains and exits with status 0."""
        self.signal(signal.SIGTERM)
        status = self.process.wait(DEADLINE_FACTOR * seconds)
        assert status == 0, f"the gateway ended with {status}: " + " ".join(self.log_tail())

    def reload(self, text):
        """Replaces the configuration file by `text` in one step, and sends SIGHUP."""
        written = self.config.with_suffix(".new")
        written.write_text(text)
        written.replace(self.config)
        self.signal(signal.SIGHUP)

    def signal(self, number):
        self.process.send_signal(number)

    def log_text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def log_tail(self):
        return self.log_text().splitlines()[-10:]

    def connection(self, address=None):
        """An HTTP connection from `address`, or from any address."""
        source = address and (address, 0)
        if not self.tls:
            return http.client.HTTPConnection(self.host, self.port, timeout=30, source_address=source)
        return http.client.HTTPSConnection(self.host, self.port, timeout=30, source_address=source, context=any_certificate())

    def request(self, method, path, body=None, address=None, headers=None):
        """Status and body of one request, with the operator's key if there is one."""
        connection = self.connection(address)
        try:
            credential = {"Authorization": f"Bearer {self.key}"} if self.key else {}
            connection.request(method, path, body, credential | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self, path):
        """The status of a GET; 0 if there is no response."""
        try:
            return self.request("GET", path)[0]
        except (OSError, http.client.HTTPException):
            return 0

    def publish(self, topic, data):
        status, body = self.request("POST", f"/v1/topics/{topic}", json.dumps(data))
        assert status == 200, f"publishing to {topic} was answered {status}: {body!r}"
        return json.loads(body)

    def publish_batch(self, lines, address=None):
        """`lines` are pairs of topic and data."""
        body = "".join(json.dumps({"topic": topic, "data": data}) + "\n" for topic, data in lines)
        status, answer = self.request("POST", "/v1/publish", body, address)
        assert status == 200, f"a batch was answered {status}: {answer[:300]!r}"
        answer = json.loads(answer)
        assert not answer["errors"], f"a batch had errors: {answer['errors'][:3]}"

    def offsets(self, match):
        """Each topic's newest (epoch, offset)."""
        found, after = {}, ""
        while True:
            status, body = self.request("GET", f"/v1/topics?match={match.replace('>', '%3E')}&limit=1000&after={after}")
            assert status == 200, f"the list of topics was answered {status}"
            page = json.loads(body)["topics"]
            found.update((entry["topic"], (entry["epoch"], entry["offset"])) for entry in page)
            if len(page) < 1000:
                return found
            after = page[-1]["topic"]

    def metrics(self):
        """Every series, keyed by its name and its sorted labels."""
        status, body = self.request("GET", "/metrics")
        assert status == 200, f"/metrics was answered {status}"
        found = {}
        for line in body.decode().splitlines():
            if parts := SERIES.match(line):
                labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', parts[2] or "")))
                found[parts[1], labels] = float(parts[3])
        return found

    def total(self, name, **labels):
        """The sum of the series of `name` that have these labels."""
        wanted = set(labels.items())
        return int(sum(value for (series, has), value in self.metrics().items() if series == name and wanted <= set(has)))

    def accounts(self, rule):
        """The five sums of one rule: routed, delivered, conflated, dropped, in outboxes."""
        sums = dict.fromkeys(("messages_routed_total", "deliveries_total", "messages_conflated_total", "messages_dropped_total", "outbox_messages"), 0)
        for (series, labels), value in self.metrics().items():
            if series in sums and ("rule", rule) in labels:
                sums[series] += int(value)
        return tuple(sums.values())

    def close_accounts(self, rule, seconds=10):
        """Waits until routed = delivered + conflated + dropped + in outboxes; returns the five."""
        deadline = time.monotonic() + DEADLINE_FACTOR * seconds
        while True:
            routed, *ends = accounts = self.accounts(rule)
            if routed == sum(ends):
                return accounts
            assert time.monotonic() < deadline, f"the accounts of rule {rule!r} are off by {routed - sum(ends)}: routed, delivered, conflated, dropped, in outboxes = {accounts}"
            time.sleep(0.1)

    def cpu_seconds(self):
        """User and system time of the process since its start."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def cpu_waits(self):
        """For each shard's thread, the seconds that it has waited for a CPU while it could run, and the number of its time slices.

        Empty where the kernel does not count them.
        """
        threads = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        shards = [thread for thread in threads if thread.joinpath("comm").read_text().startswith("shard-")]
        assert shards, "no thread has the name of a shard"
        waits = {}
        for thread in shards:
            try:
                _, nanoseconds, slices = thread.joinpath("schedstat").read_text().split()
            except FileNotFoundError:
                return {}
            waits[thread.name] = int(nanoseconds) / 1e9, int(slices)
        return waits

    def rss(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def peak(self):
        """The most resident bytes since the start, or since the last `reset_peak`."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@functools.cache
def any_certificate():
    """A client's TLS context that verifies no certificate: each test makes the gateway's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


given_ports = set()  # each port that `free_port` has returned


def free_port():
    """A free port below those that the kernel gives to outgoing connections, so that none takes it before a restart."""
    while True:
        port = random.randrange(20_000, 32_000)
        if port in given_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        given_ports.add(port)
        return port


def until(what, fact, seconds):
    """Waits until `fact()` is true, and returns its value; `what` names the fact in the error."""
    deadline = time.monotonic() + DEADLINE_FACTOR * seconds
    while True:
        if found := fact():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_FACTOR * seconds} s: {what() if callable(what) else what}")
        time.sleep(0.05)
