"""A libtorrent DHT node on 127.0.0.1 with all of its limits lifted.

  libtorrent_node.py PORT BOOTSTRAP_HOST BOOTSTRAP_PORT

Looks for nodes at every distance until the first line of standard input, and ends with it.
"""
import os
import sys
import threading
import time

import libtorrent as lt

NO_LIMIT = 1_000_000_000
DEPTHS = 16


def near(own, depth):
    """A target that shares exactly `depth` leading bits with `own`."""
    below = 160 - depth
    flipped = int.from_bytes(own, "big") ^ (1 << (below - 1)) ^ int.from_bytes(os.urandom(20), "big") % (1 << (below - 1))
    return lt.sha1_hash(flipped.to_bytes(20, "big"))


def look_around(session, bootstrap, full):
    while not full.is_set():
        session.add_dht_node(bootstrap)
        state = session.save_state(lt.save_state_flags_t.save_dht_state)
        for own in state.get(b"dht state", {}).get(b"node-id", []):
            for depth in range(DEPTHS):
                session.dht_get_peers(near(own[:20], depth))
        full.wait(0.5)


port, bootstrap = int(sys.argv[1]), (sys.argv[2], int(sys.argv[3]))
session = lt.session({
    "listen_interfaces": f"127.0.0.1:{port}",
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_bootstrap_nodes": "",
    "dht_enforce_node_id": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_upload_rate_limit": NO_LIMIT,
    "dht_block_ratelimit": NO_LIMIT,
    "alert_mask": 0,
})
print("libtorrent", lt.version, flush=True)
full = threading.Event()
threading.Thread(target=look_around, args=(session, bootstrap, full), daemon=True).start()
sys.stdin.readline()
full.set()
sys.stdin.read()
