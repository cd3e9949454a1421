"""The scenarios' gateway: anonymous clients may do everything, and no rate limits a load."""

from process import Process, free_port

KEY = "the-operator-of-this-test"

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
pending_per_address = 100000
http_connections_per_address = 100000
{rates}
{limits}
"""
# Rates that no load reaches.
NO_RATES = "commands_per_second = 1000000\ncommands_burst = 1000000\nframes_per_second = 1000000\nframes_burst = 1000000"


class Gateway(Process):
    """A gateway with these rules and limits; a restart keeps its port."""

    def __init__(self, rules="", limits="", drain="10s", rates=NO_RATES, host="127.0.0.1", wrapper=()):
        config = HEAD.format(drain=drain, key=KEY, rates=rates, limits=limits) + rules
        super().__init__(config, host=host, port=free_port(), wrapper=wrapper, key=KEY)

