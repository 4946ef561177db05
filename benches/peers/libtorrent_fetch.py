"""libtorrent fetches metadata from peers that are known beforehand, and nothing else.

  libtorrent_fetch.py HASHES PORT OPEN

One JSON line as from `cargo bench --bench fetch`.
"""
import ipaddress
import json
import os
import sys
import tempfile
import time

import libtorrent as lt

# As in benches/fetch/main.rs.
FIRST_PEER = int(ipaddress.IPv4Address("127.128.0.1"))
TORRENTS_PER_PEER = 3
STALLED_AFTER = 20
NO_LIMIT = 1_000_000
# Every connection takes a port of its own address for a minute; of so many addresses each has enough.
SOURCES = 16

with open(sys.argv[1]) as file:
    hashes = file.read().split()
port, at_once = int(sys.argv[2]), int(sys.argv[3])
first = 16 if at_once <= 50 else 16 + SOURCES
session = lt.session({
    "listen_interfaces": "127.0.0.1:0",
    "outgoing_interfaces": ",".join(f"127.0.1.{number}" for number in range(first, first + SOURCES)),
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "out_enc_policy": int(lt.enc_policy.disabled),
    "in_enc_policy": int(lt.enc_policy.disabled),
    "allow_multiple_connections_per_ip": True,
    "connections_limit": NO_LIMIT,
    "connection_speed": NO_LIMIT,
    "torrent_connect_boost": 1,
    "smooth_connects": False,
    "active_downloads": -1,
    "active_limit": NO_LIMIT,
    "dont_count_slow_torrents": False,
    "alert_queue_size": NO_LIMIT,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
})


def cpu_seconds():
    times = os.times()
    return times.user + times.system


def add(number, folder):
    parameters = lt.add_torrent_params()
    parameters.info_hashes = lt.info_hash_t(lt.sha1_hash(bytes.fromhex(hashes[number])))
    parameters.save_path = folder
    parameters.flags = lt.torrent_flags.upload_mode
    parameters.peers = [(str(ipaddress.IPv4Address(FIRST_PEER + number // TORRENTS_PER_PEER)), port)]
    session.async_add_torrent(parameters)


with tempfile.TemporaryDirectory() as folder:
    began, before = time.monotonic(), cpu_seconds()
    following, fetched, heard = 0, 0, time.monotonic()
    while following < min(at_once, len(hashes)):
        add(following, folder)
        following += 1
    while fetched < len(hashes) and time.monotonic() - heard < STALLED_AFTER:
        session.wait_for_alert(500)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.metadata_received_alert):
                fetched, heard = fetched + 1, time.monotonic()
                session.remove_torrent(alert.handle)
                if following < len(hashes):
                    add(following, folder)
                    following += 1
    cpu, took = cpu_seconds() - before, time.monotonic() - began - (STALLED_AFTER if fetched < len(hashes) else 0)
    print(json.dumps({"how": "libtorrent", "open": at_once, "wanted": len(hashes), "fetched": fetched, "seconds": took,
                      "cpu_seconds": cpu, "per_cpu_second": fetched / cpu}), flush=True)
os._exit(0)
