"""What doing nothing costs: 10,000 silent connections, 100,000 known nodes."""
import contextlib
import json
import socket
import subprocess
import threading

import machine
import tools
from machine import Failed, Process
from table import at_most

LINKS, NODES = 10_000, 100_000
CORE_PERCENT, BYTES_A_LINK = 1.0, 1024


def row(wish):
    wish.say("idle: 10,000 connections")
    with machine.folder() as folder, silent() as port:
        with Process([tools.bench("idle"), "--port", port, "--links", LINKS, "--nodes", NODES], machine.MEASURED,
                     f"{folder}/idle.log", stdout=subprocess.PIPE) as engine:
            said = engine.child.stdout.readline()
            if not said:
                raise Failed(f"the links did not all open{engine.words()}")
    said = json.loads(said)
    if said["links_still_open"] < LINKS or said["nodes"] < NODES:
        raise Failed(f"not idle: {said}")
    note = f"fetches that wait for their peer; {said['seconds']:.1f} s"
    yield at_most("idle: 10,000 links, 100,000 nodes", said["core_percent"], "% of a core", CORE_PERCENT, note=note)
    yield at_most("idle: memory for each link", said["bytes_a_link"], "bytes", BYTES_A_LINK,
                  note="and for its torrent in the queue")


@contextlib.contextmanager
def silent():
    """A port where everybody is let in and nobody gets a word."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []

    def hold(listener):
        with contextlib.suppress(OSError):
            while True:
                held.append(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0), backlog=LINKS) as listener:
        threading.Thread(target=hold, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()
