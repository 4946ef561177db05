"""The DHT and its torrents that everything else meets, in a process of its own."""
import contextlib
import json
import signal
import subprocess
import time

import machine
import tools
from machine import Failed, Process

STARTS_WITHIN = 180


class Swarm(Process):
    """`dht-hunter swarm` on the other core."""

    def __init__(self, folder, nodes, torrents, *more, port=0):
        self.list, self.stats_file = f"{folder}/hashes", f"{folder}/swarm.json"
        super().__init__([tools.hunter(), "--json", "swarm", "--nodes", nodes, "--torrents", torrents, "--port", port,
                          "--list", self.list, "--stats", self.stats_file, *more],
                         machine.OTHER, f"{folder}/swarm.log", stdout=subprocess.PIPE)
        said = self.child.stdout.readline()
        if not said:
            self.stop()
            raise Failed(f"the swarm did not start{self.words()}")
        said = json.loads(said)
        self.bootstrap, self.reachable = said["bootstrap"], said["reachable"]
        self.port = int(self.bootstrap.rsplit(":", 1)[1])

    def stats(self):
        """What it counted up to a fifth of a second ago; empty before it counted anything."""
        with contextlib.suppress(FileNotFoundError), open(self.stats_file) as file:
            return json.load(file)
        return {}


class Crawler(Process):
    """`dht-hunter run` on the measured core, everything else at its default."""

    def __init__(self, folder, bootstrap, *more, name="crawler"):
        self.db, self.port, self.began = f"{folder}/{name}.db", machine.free_port(), time.monotonic()
        super().__init__([tools.hunter(), "run", "--profile", "max", "--listen", f"127.0.0.1:{self.port}", "--http", "off",
                          "--bootstrap", bootstrap, "--db", self.db, *more], machine.MEASURED, f"{folder}/{name}.log")

    def stored(self):
        """Torrents in its archive, as another process sees them."""
        asked = subprocess.run([tools.hunter(), "--json", "stats", "--db", self.db], capture_output=True, text=True)
        return json.loads(asked.stdout)["torrents"] if asked.returncode == 0 else 0

    def close(self):
        """Ends it as a user would, and holds it to what it promised."""
        if self.stop(signal.SIGINT, patience=15) != 0:
            raise Failed(f"the crawler did not end well{self.words()}")
        tools.run([tools.hunter(), "db", "check", "--db", self.db])
