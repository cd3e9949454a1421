"""The gateway under attack, with the default configuration."""

import pathlib
import re
import subprocess
import tempfile

from client import other_address
from worker import Worker
from process import Process
from witness import Witness

# Whether every gateway listens with TLS.
TLS = False
# The temporary folder, certificate and key of this run.
CERTIFICATE = None


class Gateway(Process):
    """`settings` override `config`, or the built-in configuration. With `own_tls`, `config` itself configures TLS."""

    def __init__(self, config=None, settings=(), descriptors=None, own_tls=False):
        settings = list(settings)
        if TLS and not own_tls:
            certificate, key = certificate_files()
            settings += [f'server.tls={{ cert = "{certificate}", key = "{key}" }}']
        super().__init__(config, settings, descriptors=descriptors, tls=TLS or own_tls)

    def admin_key(self):
        """The admin key that a gateway without a configuration file generates."""
        return re.search(r"admin key\s+(\S+)", self.log_text())[1]

    def admin_request(self, method, path):
        return self.request(method, path, headers={"Authorization": f"Bearer {self.admin_key()}"})


def certificate_files():
    """The files of a certificate for 127.0.0.1 and its key, which exist until the end of this run."""
    global CERTIFICATE
    if CERTIFICATE is None:
        folder = tempfile.TemporaryDirectory(prefix="belfry-hostile-")
        certificate, key = (pathlib.Path(folder.name) / name for name in ("cert.pem", "key.pem"))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        CERTIFICATE = folder, certificate, key
    return CERTIFICATE[1:]


def populate(gateway, topics, data):
    """Publishes `data` once to each topic over HTTP, from many addresses to stay within the rates."""
    topics = list(topics)
    for part in range(0, len(topics), 150):
        gateway.publish_batch(((topic, data) for topic in topics[part : part + 150]), other_address(10_000 + part // 150))


def measured(gateway, attack, *arguments, seconds=60):
    """Runs `attack` in a process beside a witness; returns its result, the witness, and the gateway's CPU seconds."""
    with Witness(gateway) as witness:
        before = gateway.cpu_seconds()
        witness.restart()
        result = Worker(attack, gateway, *arguments, nice=True).result(seconds)
        witness.stop()
        used = gateway.cpu_seconds() - before
    return result, witness, used
