"""A small DHT of libtorrent sessions, one of which may seed torrents. Talks JSON lines: what it
is to do comes as the one argument, one question a line on standard input, an answer a line on
standard output.

Argument: {"addresses": ["127.0.0.1", ...], "port": 0, "dht": true, "enforce": false,
           "seeds": "an empty folder" or null}
"""
import hashlib
import ipaddress
import json
import os
import sys
import time

import libtorrent as lt

SETTINGS = {
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "dht_bootstrap_nodes": "",
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_sample_infohashes_interval": 1,
    "dht_announce_interval": 10,
    "dht_upload_rate_limit": 10_000_000,
    "dht_block_ratelimit": 10_000,
    "allow_multiple_connections_per_ip": True,
    "alert_queue_size": 10_000,
    "alert_mask": lt.alert.category_t.dht_operation_notification | lt.alert.category_t.dht_notification | lt.alert.category_t.error_notification,
}


def host(address):
    return f"[{address}]" if ":" in address else address


class Swarm:
    def __init__(self, wish):
        self.sessions = []
        self.torrents = []
        for address in wish["addresses"]:
            session = lt.session({**SETTINGS, "listen_interfaces": f"{host(address)}:{wish.get('port', 0)}",
                                  "enable_dht": wish.get("dht", True), "dht_enforce_node_id": wish.get("enforce", False)})
            self.sessions.append((address, session))
        self.addresses = [(address, self.port(session)) for address, session in self.sessions]
        for _, session in self.sessions:
            for node in self.addresses:
                session.add_dht_node(node)
        if wish.get("seeds"):
            self.seed(wish["seeds"])

    @staticmethod
    def port(session):
        for _ in range(100):
            if session.listen_port():
                return session.listen_port()
            time.sleep(0.05)
        raise SystemExit("libtorrent does not listen")

    def seed(self, folder):
        kinds = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}
        for kind, flags in kinds.items():
            name = os.path.join(folder, f"{kind} of libtorrent")
            os.makedirs(name)
            for number in range(3):
                with open(os.path.join(name, f"file {number}.bin"), "wb") as file:
                    file.write(hashlib.sha256(f"{kind}{number}".encode()).digest() * 1500)
            storage = lt.file_storage()
            lt.add_files(storage, name)
            made = lt.create_torrent(storage, 16384, flags)
            lt.set_piece_hashes(made, folder)
            info = lt.torrent_info(made.generate())
            parameters = lt.add_torrent_params()
            parameters.ti, parameters.save_path = info, folder
            handle = self.sessions[0][1].add_torrent(parameters)
            hashes = info.info_hashes()
            best = hashes.v1 if hashes.has_v1() else str(hashes.v2)[:40]
            self.torrents.append({"kind": kind, "infohash": str(best), "name": info.name()})
            self.handles = getattr(self, "handles", []) + [handle]

    def ready(self):
        return {"nodes": self.addresses, "torrents": self.torrents}

    def announce(self):
        for handle in self.handles:
            handle.force_dht_announce()
        return {}

    def announced(self):
        """How many of the seeded torrents the DHT knows a peer of."""
        session, found = self.sessions[-1][1], set()
        for torrent in self.torrents:
            session.dht_get_peers(lt.sha1_hash(bytes.fromhex(torrent["infohash"])))
        until = time.monotonic() + 1
        while len(found) < len(self.torrents) and time.monotonic() < until:
            for alert in session.pop_alerts():
                if isinstance(alert, lt.dht_get_peers_reply_alert) and alert.num_peers() > 0:
                    found.add(str(alert.info_hash))
            time.sleep(0.05)
        return {"count": len(found)}

    def add_node(self, address, port):
        for _, session in self.sessions:
            session.add_dht_node((address, port))
        return {}

    def live_nodes(self, address, port):
        """In how many sessions' routing tables this node is, and under which ids."""
        for _, session in self.sessions:
            state = session.save_state(lt.save_state_flags_t.save_dht_state)
            for own in state.get(b"dht state", {}).get(b"node-id", []):
                session.dht_live_nodes(lt.sha1_hash(own[:20]))
        tables, ids = set(), set()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            for number, (_, session) in enumerate(self.sessions):
                for alert in session.pop_alerts():
                    if not isinstance(alert, lt.dht_live_nodes_alert):
                        continue
                    for node in alert.nodes:
                        if tuple(node["endpoint"]) == (address, port):
                            tables.add(number)
                            ids.add(str(node["nid"]))
            time.sleep(0.05)
        fit = all(fits(address, bytes.fromhex(own)) for own in ids)
        return {"tables": len(tables), "ids": sorted(ids), "fit": fit}


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def fits(address, own):
    """BEP 42, for IPv4: the first 21 bits of the id come from the address and its last byte."""
    if ":" in address:
        return True
    ip = int(ipaddress.ip_address(address)) & 0x030F3FFF | (own[19] & 7) << 29
    return crc32c(ip.to_bytes(4, "big")) >> 11 == int.from_bytes(own[:4], "big") >> 11


def main():
    swarm = Swarm(json.loads(sys.argv[1]))
    print(json.dumps(swarm.ready()), flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(swarm, method)(*arguments)), flush=True)


main()
