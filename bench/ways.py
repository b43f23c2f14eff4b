"""ways.py - the ways to a throwaway PostgreSQL: straight, and through each proxy.

Knows how each program is started and what its processes cost: processor time, resident memory. Everything
listens on 127.0.0.1 and ends with the benchmark.
"""

import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST_CONNECTIONS = 1300


class Failed(Exception):
    """The benchmark cannot go on, and this is why."""


def processor_seconds(pids):
    """User and system time so far of every thread, in seconds: the scheduler counts nanoseconds."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def resident_kib(pids):
    """Memory of its own that a program has in use: what is mapped from files is not counted."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            total += int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1))
    return total


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, log):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    with open(log, encoding="utf-8", errors="replace") as file:
        raise Failed(f"{process.args[0]} does not start: {file.read()[-2000:]}")


class Cluster:
    """A server of our own, made by tests/support/cluster.sh."""

    def __init__(self, directory, auth="scram"):
        script = os.path.join(TOP, "tests/support/cluster.sh")
        self.directory = directory
        self.script = script
        settings = ["shared_buffers=1GB", f"max_connections={MOST_CONNECTIONS}", "max_wal_size=8GB",
                    "wal_level=minimal", "max_wal_senders=0", "jit=off"]
        command = [script, "start", directory, "--auth", auth, "--owner", str(os.getpid())]
        for setting in settings:
            command += ["--set", setting]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Failed(made.stderr)
        values = dict(line.split("=", 1) for line in made.stdout.splitlines())
        self.port = int(values["PGPORT"])
        self.pid = int(values["PID"])
        self.log = values["LOG"]

    def stop(self):
        subprocess.run([self.script, "stop", self.directory], check=False)


class Way:
    """One way to the server. `process` is None for the straight one."""

    def __init__(self, name, port, process=None):
        self.name = name
        self.port = port
        self.process = process

    @property
    def pids(self):
        return [self.process.pid] if self.process else []

    def stop(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name, command, port, directory):
    log = os.path.join(directory, f"{name}.log")
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    wait_for_port(port, process, log)
    way = Way(name, port, process)
    way.log = log
    return way


def pgaside(directory, server_port, *options, name="pgaside", under=()):
    port = free_port()
    program = os.environ.get("PGASIDE", os.path.join(TOP, "build/pgaside"))
    command = [*under, program, "serve", "--listen-port", str(port), "--upstream",
               f"postgresql://127.0.0.1:{server_port}/", "--max-client-conn", "2000",
               "--shutdown-timeout", "1", *options]
    return start(name, command, port, directory)


def unprivileged():
    """pgbouncer refuses to run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def pgbouncer(directory, server_port, auth="scram-sha-256", tls=None):
    port = free_port()
    own = os.path.join(directory, f"pgbouncer-{port}")
    os.mkdir(own)
    lines = ["[databases]", f"app = host=127.0.0.1 port={server_port} user=app password=secret",
             "[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}", f"auth_type = {auth}",
             f"auth_file = {own}/users", "pool_mode = session", "max_client_conn = 2000",
             "default_pool_size = 1250", "unix_socket_dir =", "server_reset_query =",
             "log_connections = 0", "log_disconnections = 0", "log_stats = 0",
             "ignore_startup_parameters = extra_float_digits"]
    if tls:
        lines += ["client_tls_sslmode = allow", f"client_tls_key_file = {tls}.key",
                  f"client_tls_cert_file = {tls}.crt"]
    with open(f"{own}/ini", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    with open(f"{own}/users", "w", encoding="ascii") as file:
        file.write('"app" "secret"\n')
    return start("pgbouncer", [*unprivileged(), "/usr/sbin/pgbouncer", f"{own}/ini"], port, directory)


def haproxy(directory, server_port):
    port = free_port()
    config = os.path.join(directory, f"haproxy-{port}.cfg")
    with open(config, "w", encoding="ascii") as file:
        file.write(f"""global
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen postgresql
    bind 127.0.0.1:{port}
    server postgresql 127.0.0.1:{server_port}
""")
    return start("haproxy", ["/usr/sbin/haproxy", "-db", "-f", config], port, directory)


def missing():
    """Programs that the benchmark wants and that are not there."""
    wanted = ["pgbench", "psql", "strace", "valgrind", "openssl", "/usr/sbin/pgbouncer",
              "/usr/sbin/haproxy"]
    return [program for program in wanted if not shutil.which(program)]
