"""Connections to 1,000 TLS targets at once: ours, curl, and what the server allows.

nginx has one core, the client another. curl cannot be told to connect only, so it sends a HEAD over
each connection and reads the answer; ours waits for the session tickets instead."""
import contextlib
import os
import re
import resource
import statistics
import subprocess
import time

import machine
import tools
from machine import Failed, Process
from table import at_most, ratio

TARGETS, ROUNDS, SECONDS = 1_000, 5, 3
CPU_OF_CURL, OF_THE_SERVER = 0.5, 0.9
# The most that curl does at once.
CURL_PARALLEL = 300


def row(wish):
    with machine.folder() as folder, nginx(folder) as port:
        wish.say("warming: dht-hunter")
        ours = [timed(ours_command(folder), folder, connected) for _ in range(ROUNDS)]
        wish.say("warming: curl --parallel")
        theirs = [timed(curl_command(folder), folder, answered) for _ in range(ROUNDS)]
        wish.say("warming: what the server allows")
        allowed = {f"openssl s_time, {clients}": s_time(port, clients) for clients in (1, 2, 4)}
    own_cpu, own_wall = (statistics.median(column) for column in zip(*ours))
    curl_cpu, curl_wall = (statistics.median(column) for column in zip(*theirs))
    allowed["curl --parallel"] = TARGETS / curl_wall
    fastest = max(allowed, key=allowed.get)
    yield at_most(f"warming {TARGETS:,} TLS targets: CPU, of curl --parallel's", own_cpu / curl_cpu, "x", CPU_OF_CURL,
                  note=f"{own_cpu:.2f} s and {curl_cpu:.2f} s; curl sends a HEAD, too")
    yield ratio(f"warming {TARGETS:,} TLS targets", TARGETS / own_wall, "a second", allowed[fastest], OF_THE_SERVER,
                peers={"curl --parallel": TARGETS / curl_wall}, note=f"limit: {fastest}")


@contextlib.contextmanager
def nginx(folder):
    """nginx with an ECDSA certificate, and the lists of its names for all clients."""
    port = machine.free_port()
    tools.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{folder}/key"])
    tools.run(["openssl", "req", "-x509", "-new", "-key", f"{folder}/key", "-days", "2", "-subj", "/CN=w",
               "-addext", "subjectAltName=DNS:*.w.localhost", "-addext", "basicConstraints=critical,CA:FALSE",
               "-out", f"{folder}/cert"])
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(f"daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid {folder}/pid;"
                   f" error_log {folder}/error.log; events {{ worker_connections 8192; }}"
                   f" http {{ access_log off; {temporary} server {{"
                   f" listen 127.0.0.1:{port} ssl http2 backlog=4096; listen [::1]:{port} ssl http2 backlog=4096;"
                   f" ssl_protocols TLSv1.3; ssl_certificate {folder}/cert; ssl_certificate_key {folder}/key;"
                   f" return 200 ok; }} }}\n")
    names = [f"t{number}.w.localhost" for number in range(TARGETS)]
    with open(f"{folder}/targets", "w") as file:
        file.writelines(f"{name} {port} https\n" for name in names)
    with open(f"{folder}/curl", "w") as file:
        file.write(f"parallel\nparallel-max = {CURL_PARALLEL}\nhead\nsilent\ncacert = {folder}/cert\n"
                   "write-out = \"%{stderr}%{http_code}\\n\"\n")
        file.writelines(f"url = https://{name}:{port}/\noutput = /dev/null\nresolve = {name}:{port}:127.0.0.1\n"
                        for name in names)
    with Process(["nginx", "-c", f"{folder}/nginx.conf", "-e", "stderr"], machine.OTHER, f"{folder}/nginx.log"):
        machine.wait_for("nginx", 10, lambda: subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"], stdin=subprocess.DEVNULL,
            capture_output=True).returncode == 0)
        yield port


def ours_command(folder):
    return [tools.hunter(), "network", "preconnect", "--targets", f"{folder}/targets", "--dns-forwarder",
            "127.0.0.1:9", "--tcp-timeout", "30s", "--tls-timeout", "30s"]


def curl_command(folder):
    return ["curl", "-K", f"{folder}/curl"]


def connected(out, _):
    return f"{TARGETS:,} of {TARGETS:,} connected" in out


def answered(_, errors):
    return errors.split().count("200") == TARGETS


def timed(command, folder, is_right):
    """CPU and wall seconds of one run that did everything."""
    def prepare():
        os.sched_setaffinity(0, machine.MEASURED)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    with open(f"{folder}/out", "w+") as out, open(f"{folder}/errors", "w+") as errors:
        began = time.monotonic()
        child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                                 preexec_fn=prepare, env={**os.environ, "SSL_CERT_FILE": f"{folder}/cert"})
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        said, complained = out.read(), errors.read()
    if child.returncode != 0 or not is_right(said, complained):
        raise Failed(f"{command[0]} ended with {child.returncode}: {said[-300:]} {complained[-300:]}")
    return used.ru_utime + used.ru_stime, wall


def s_time(port, clients):
    """Full handshakes a second of so many clients, on the core where ours runs."""
    def pin():
        os.sched_setaffinity(0, machine.MEASURED)

    command = ["openssl", "s_time", "-new", "-time", str(SECONDS), "-connect", f"127.0.0.1:{port}"]
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, preexec_fn=pin) for _ in range(clients)]
    total = 0
    for child in running:
        said = child.communicate()[0]
        found = re.search(r"(\d+) connections in (\d+) real seconds", said)
        if not found:
            raise Failed(f"openssl s_time said {said[-300:]}")
        total += int(found[1]) / int(found[2])
    return total
