"""A broadcast server with topics on `socketify`, which is uWebSockets with Python before it. Speaks the load test's `bare` dialect."""

import argparse
import os

from socketify import App, AppListenOptions, CompressOptions, OpCode

# The default of Belfry's `outbox_bytes`. Beyond it uWebSockets drops messages.
OUTBOX_BYTES = 1 << 20


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--deflate", choices=["shared", "dedicated"])
    arguments = parser.parse_args()
    app = App()

    def take(socket, text, opcode):
        word, _, rest = text.partition(" ")
        if word == "PUB":
            topic, _, payload = rest.partition("\n")
            app.publish(topic, payload, OpCode.TEXT, arguments.deflate is not None)
        elif word == "SUB":
            for topic in rest.split():
                socket.subscribe(topic)
            socket.send("SUB", OpCode.TEXT)
        else:
            socket.end(1008, "write SUB or PUB")

    compression = {
        None: CompressOptions.DISABLED,
        "shared": CompressOptions.SHARED_COMPRESSOR,
        "dedicated": CompressOptions.DEDICATED_COMPRESSOR,
    }[arguments.deflate]
    app.ws("/*", {"compression": compression, "max_backpressure": OUTBOX_BYTES, "message": take})

    def listening(options):
        with open(arguments.port_file + ".new", "w") as file:
            file.write(f"127.0.0.1:{options.port}")
        os.replace(arguments.port_file + ".new", arguments.port_file)

    app.listen(AppListenOptions(port=0, host="127.0.0.1"), listening)
    app.run()


main()
