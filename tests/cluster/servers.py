"""NATS servers with JetStream on loopback, single or as a cluster of three."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

from process import free_port

NATS_SERVER = os.environ.get("NATS_SERVER", "nats-server")


class Server:
    def __init__(self, folder, name, routes=(), cluster_port=0, binary=NATS_SERVER):
        self.name, self.routes, self.cluster_port = name, routes, cluster_port
        self.port, self.http, self.binary = free_port(), free_port(), binary
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        self.process = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self):
        text = f'server_name: {self.name}\nlisten: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.http}"\n'
        text += f'jetstream {{ store_dir: "{self.folder}/js", max_mem: 1G, max_file: 4G }}\n'
        if self.cluster_port:
            routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
            text += f'cluster {{ name: test, listen: "127.0.0.1:{self.cluster_port}", no_advertise: true, routes: [{routes}] }}\n'
        config = self.folder / "nats.conf"
        config.write_text(text)
        command = [self.binary, "-c", str(config), "-l", str(self.folder / "log")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def pause(self):
        """Stops the process, as on a machine that is cut off: its connections stay open, and no byte passes."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def wait(self, seconds=30):
        deadline = time.time() + seconds
        while time.time() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/healthz", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.name} is not ready after {seconds} s; its log is {self.folder}/log")


class Servers:
    """The servers that run in a `with` block."""

    def __init__(self, count, binary=NATS_SERVER):
        self.folder = tempfile.mkdtemp(prefix="belfry-nats-")
        routes = [free_port() for _ in range(count)] if count > 1 else []
        self.all = [Server(self.folder, f"n{index}", routes, routes[index] if routes else 0, binary) for index in range(count)]

    def __enter__(self):
        for server in self.all:
            server.start()
        for server in self.all:
            server.wait()
        return self

    def __exit__(self, *_):
        for server in self.all:
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def urls(self):
        return [server.url for server in self.all]
