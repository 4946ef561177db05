"""Processes pinned to cores, what they cost, and what machine this is."""
import contextlib
import os
import platform
import random
import resource
import signal
import socket
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
# What is measured runs on one core, what asks or serves it on another.
MEASURED, OTHER = {CORES[0]}, {CORES[-1]}


class Failed(Exception):
    """A measurement that came to nothing; the text says why."""


class Process:
    """A child on one core, ended by its id when the `with` ends."""

    def __init__(self, command, core, log=None, stdin=None, stdout=None):
        def prepare():
            os.sched_setaffinity(0, core)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

        self.log = log
        with contextlib.ExitStack() as stack:
            errors = stack.enter_context(open(log, "ab")) if log else subprocess.DEVNULL
            self.child = subprocess.Popen(
                [str(part) for part in command], preexec_fn=prepare, text=True, bufsize=1,
                stdin=stdin or subprocess.DEVNULL, stdout=stdout or errors, stderr=errors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.child.pid

    def runs(self):
        return self.child.poll() is None

    def stop(self, how=signal.SIGTERM, patience=10):
        """Ends it and says with which code."""
        if self.runs():
            self.child.send_signal(how)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return self.child.returncode

    def cpu_seconds(self):
        """User and system time of all its threads so far."""
        fields = self.read("stat").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, field):
        """`VmRSS` or `VmHWM`, in bytes."""
        for line in self.read("status").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise Failed(f"{field} of a process that is gone")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def read(self, name):
        try:
            with open(f"/proc/{self.pid}/{name}") as file:
                return file.read()
        except OSError as error:
            raise Failed(f"a process ended before its time{self.words()}") from error

    def words(self):
        """The last that it said."""
        if not self.log:
            return ""
        with open(self.log, errors="replace") as file:
            lines = file.read().splitlines()
        return ": " + " / ".join(lines[-3:]) if lines else ""


def folder():
    """A folder that is gone when the `with` ends."""
    return tempfile.TemporaryDirectory(prefix="dht-hunter-bench-")


def free_port():
    """A port that nobody has now, for UDP and TCP, below those that the system hands out by itself."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("0.0.0.0", port))
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
                tcp.bind(("0.0.0.0", port))
            return port
    raise Failed("a hundred ports and none of them free")


def wait_for(what, patience, ask):
    """The first true answer of `ask`."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise Failed(f"{what} took longer than {patience} s")


def describe():
    """What a reader of the figures must know."""
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
    }
