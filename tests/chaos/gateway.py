"""A gateway of one's own: started, asked, reloaded, killed and started again on the same port."""

import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("BELFRY", str(ROOT / "target" / "release" / "belfry"))
KEY = "the-operator-of-this-test"
# Waits are this much longer than they should be: the machine may be slow, or busy with something else. What comes earlier isn't waited for.
PATIENCE = 4
SERIES = re.compile(r"^belfry_([a-z_]+)(?:\{(.*)\})? (\S+)$")

HEAD = """
[server]
listen = "127.0.0.1:0"
shards = 2
drain = "{drain}"

[auth]
anonymous = {{ subscribe = [">", "$belfry.>"], publish = [">"] }}
api_keys = [{{ name = "operator", key = "{key}", subscribe = [">"], publish = [">"], admin = true, commands_per_second = 1000000 }}]

[limits]
sessions_per_address = 100000
{rates}
{limits}
"""
# What a load never reaches.
NO_RATES = "commands_per_second = 1000000\ncommands_burst = 1000000\nframes_per_second = 1000000\nframes_burst = 1000000"


class Skipped(Exception):
    """A scenario can't be had here; the words say what it needs."""


class Gateway:
    """One process; leaving the `with` kills it. `host` is where it listens, `wrapper` a command that it is started by."""

    def __init__(self, rules="", limits="", drain="10s", rates=NO_RATES, host="127.0.0.1", wrapper=()):
        self.folder = tempfile.TemporaryDirectory(prefix="belfry-chaos-")
        self.config = pathlib.Path(self.folder.name) / "belfry.toml"
        self.config.write_text(HEAD.format(drain=drain, key=KEY, rates=rates, limits=limits) + rules)
        self.host, self.wrapper = host, wrapper
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+b")
        self.port = free_port()
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
        """Starts it, on the port that it had before; back when it listens. Answers the time before it could."""
        port_file = pathlib.Path(self.folder.name) / "port"
        port_file.unlink(missing_ok=True)
        command = [*self.wrapper, BINARY, "serve", "--config", self.config, "--listen", f"{self.host}:{self.port}", "--port-file", port_file, "--log", "warn"]
        began = time.monotonic()  # a subscriber may be back before the port file has been looked at
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = began + 20
        while not (port_file.exists() and port_file.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the gateway did not come up: " + " ".join(self.log_tail()))
            time.sleep(0.005)
        self.port = int(port_file.read_text().strip().rpartition(":")[2])
        return began

    def kill(self):
        """As the kernel's out-of-memory killer would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def reload(self, text):
        """Puts `text` in the configuration's place, in one step, and says so."""
        written = self.config.with_suffix(".new")
        written.write_text(text)
        written.replace(self.config)
        self.signal(signal.SIGHUP)

    def signal(self, number):
        self.process.send_signal(number)

    def log_tail(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode(errors="replace").splitlines()[-10:]

    def request(self, method, path, body=None):
        """Status and body of one request, with the operator's key."""
        asked = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            asked.request(method, path, body, {"Authorization": f"Bearer {KEY}"})
            answer = asked.getresponse()
            return answer.status, answer.read()
        finally:
            asked.close()

    def status(self, path):
        """The status of a GET; 0 where nobody answers."""
        try:
            return self.request("GET", path)[0]
        except (OSError, http.client.HTTPException):
            return 0

    def publish(self, topic, data):
        status, body = self.request("POST", f"/v1/topics/{topic}", json.dumps(data))
        assert status == 200, f"publishing to {topic} was answered {status}: {body!r}"
        return json.loads(body)

    def publish_batch(self, lines):
        """`lines` are pairs of topic and data."""
        body = "".join(json.dumps({"topic": topic, "data": data}) + "\n" for topic, data in lines)
        status, answer = self.request("POST", "/v1/publish", body)
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
        """Every series, by name and its labels as a dictionary's items."""
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
        """The six sums of one rule: routed, delivered, conflated, dropped, outbox."""
        sums = dict.fromkeys(("messages_routed_total", "deliveries_total", "messages_conflated_total", "messages_dropped_total", "outbox_messages"), 0)
        for (series, labels), value in self.metrics().items():
            if series in sums and ("rule", rule) in labels:
                sums[series] += int(value)
        return tuple(sums.values())

    def close_accounts(self, rule, seconds=10):
        """Waits until routed = delivered + conflated + dropped + in outboxes; answers the five."""
        deadline = time.monotonic() + PATIENCE * seconds
        while True:
            routed, *ends = accounts = self.accounts(rule)
            if routed == sum(ends):
                return accounts
            assert time.monotonic() < deadline, f"the accounts of rule {rule!r} are off by {routed - sum(ends)}: routed, delivered, conflated, dropped, in outboxes = {accounts}"
            time.sleep(0.1)

    def rss(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def peak(self):
        """The most resident bytes since the start, or since the last `forget_peak`."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def free_port():
    """A port below those that the kernel gives to outgoing connections, so that none of them takes it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as own:
            try:
                own.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(what, fact, seconds):
    """Waits for `fact()` to be true, and answers it; `what` says which fact was missed."""
    deadline = time.monotonic() + PATIENCE * seconds
    while True:
        if found := fact():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE * seconds} s: {what() if callable(what) else what}")
        time.sleep(0.05)
