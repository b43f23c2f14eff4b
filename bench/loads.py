"""loads.py - one measurement each: what is run, and the numbers that come of it.

Every function runs its load once on one way and returns a dictionary of numbers; rounds, their order and
medians are the business of `run`.
"""

import glob
import os
import re
import socket
import struct
import subprocess
import time

from ways import Failed, processor_seconds, resident_kib

WARM = 2  # seconds


def environment(way, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return dict(env, PGHOST="127.0.0.1", PGPORT=str(way.port), PGUSER="app", PGPASSWORD="secret",
                PGDATABASE="app", **more)


def command(way, argv, out=subprocess.PIPE, given=None, **more):
    done = subprocess.run(argv, env=environment(way, **more), stdin=given or subprocess.DEVNULL,
                          stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{way.name}: {' '.join(argv)}: {done.stderr[-1000:]}")
    return done.stdout


def sql(way, text, **more):
    return command(way, ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text], **more)


def number(pattern, text):
    return float(re.search(pattern, text).group(1))


def percentile(values, part):
    return values[min(len(values) - 1, int(len(values) * part))]


def measured(way, argv, warm, **more):
    """Runs pgbench, and returns its output, how many transactions were done and how many processor seconds of
    the proxy they took. The first `warm` seconds do not count: log-ins, and the caches and page tables of new
    server processes, which pgbouncer keeps from the round before."""
    before, skipped = processor_seconds(way.pids), 0
    with subprocess.Popen([*argv, *(["-P", str(warm)] if warm else [])], env=environment(way, **more), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        errors = []
        for line in run.stderr:
            found = re.match(r"progress: [\d.]+ s, ([\d.]+) tps", line)
            if not found:
                errors.append(line)
            elif not skipped:
                before, skipped = processor_seconds(way.pids), float(found.group(1)) * warm
        used = processor_seconds(way.pids) - before
        out = run.stdout.read()
    if run.returncode != 0:
        raise Failed(f"{way.name}: {' '.join(argv)}: {''.join(errors)[-1000:]}")
    return out, number(r"actually processed: (\d+)", out) - skipped, used


def pgbench(way, mode, clients, seconds, directory, latency=False, sslmode="disable", options=()):
    """Transactions a second, microseconds of processor time each, and p50 and p99 in microseconds."""
    prefix = os.path.join(directory, "latency")
    warm = WARM if clients > 1 else 0
    argv = ["pgbench", "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1", "-T", str(seconds + warm), *options]
    if latency:
        argv += ["-l", "--log-prefix", prefix]
    out, done, used = measured(way, argv, warm, PGSSLMODE=sslmode)
    tps = done / seconds if warm else number(r"tps = ([\d.]+)", out)
    result = {"tps": tps, "cpu_us": used / done * 1e6}
    if latency:
        times = []
        for path in glob.glob(prefix + ".*"):
            with open(path, encoding="ascii") as file:
                times += [int(line.split()[2]) for line in file]
            os.unlink(path)
        times.sort()
        result["p50_us"] = percentile(times, 0.5)
        result["p99_us"] = percentile(times, 0.99)
    return result


def connections(way, seconds, sslmode="disable"):
    """A connection for each transaction."""
    before = processor_seconds(way.pids)
    out = command(way, ["pgbench", "-n", "-S", "-C", "-c", "2", "-j", "1", "-T", str(seconds)],
                  PGSSLMODE=sslmode)
    done = number(r"actually processed: (\d+)", out)
    return {"connections": done / seconds, "cpu_us": (processor_seconds(way.pids) - before) / done * 1e6}


def prepare_bulk(straight, megabytes):
    """A table of about so many bytes as COPY writes it, the same as a file's text, and an empty one."""
    rows = megabytes * 1000000 // 266
    sql(straight, "CREATE UNLOGGED TABLE bench_bulk AS SELECT n, repeat(md5(n::text), 8) AS t "
        f"FROM generate_series(1, {rows}) n; CREATE UNLOGGED TABLE bench_sink (n int, t text)")


def bulk(way, argv, size, out=None, given=None):
    before = processor_seconds(way.pids)
    began = time.monotonic()
    with open("/dev/null", "wb") as null:
        command(way, argv, out=out or null, given=given)
    took = time.monotonic() - began
    return {"seconds": took, "cpu_s_gb": (processor_seconds(way.pids) - before) / (size / 1e9)}


def copy_out(way, size):
    return bulk(way, ["psql", "-Xqc", "COPY bench_bulk TO STDOUT"], size)


def copy_in(straight, way, path):
    sql(straight, "TRUNCATE bench_sink")
    with open(path, "rb") as file:
        return bulk(way, ["psql", "-Xqc", "COPY bench_sink FROM STDIN"], os.path.getsize(path), given=file)


def insert_script(straight, way, path):
    """One Query of many megabytes: a message that a proxy which looks at statements has to hold whole."""
    sql(straight, "TRUNCATE bench_sink")
    with open(path, "rb") as file:
        return bulk(way, ["psql", "-Xq"], os.path.getsize(path), given=file)


def write_insert_script(path, megabytes):
    line = "INSERT INTO bench_sink VALUES " + ",".join(f"({n},'{'x' * 190}')" for n in range(5000)) + ";\n"
    with open(path, "w", encoding="ascii") as file:
        for _ in range(max(1, megabytes * 1000000 // len(line))):
            file.write(line)


def receive(s, size):
    data = b""
    while len(data) < size:
        got = s.recv(size - len(data))
        if not got:
            raise Failed("a connection was closed during the log-in")
        data += got
    return data


def message(s):
    kind, length = struct.unpack("!cI", receive(s, 5))
    return kind, receive(s, length - 4)


def log_in(port):
    """A raw connection, trusted or with a password in clear, in whose way no client library is."""
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    s.settimeout(30)
    body = struct.pack("!I", 196608) + b"user\0app\0database\0app\0\0"
    s.sendall(struct.pack("!I", len(body) + 4) + body)
    while True:
        kind, body = message(s)
        if kind == b"E":
            raise Failed(body.decode(errors="replace"))
        if kind == b"R" and struct.unpack("!I", body[:4])[0] == 3:
            s.sendall(b"p" + struct.pack("!I", 11) + b"secret\0")
        if kind == b"Z":
            return s


def close_all(sockets):
    for s in sockets:
        s.close()


def idle_memory(way, count):
    """KiB for each of `count` connections that have logged in and do nothing. One comes before, so that
    what is needed once is not counted."""
    sockets = [log_in(way.port)]
    try:
        before = resident_kib(way.pids)
        sockets += [log_in(way.port) for _ in range(count)]
        time.sleep(0.5)
        return {"kib": (resident_kib(way.pids) - before) / count}
    finally:
        close_all(sockets)


def stalled_memory(way, count):
    """The same for connections whose clients have asked for a large result and do not read it."""
    sockets = [log_in(way.port)]
    try:
        before = resident_kib(way.pids)
        sockets += [log_in(way.port) for _ in range(count)]
        query = b"SELECT repeat('x', 1000) FROM generate_series(1, 100000)\0"
        for s in sockets[1:]:
            s.sendall(b"Q" + struct.pack("!I", len(query) + 4) + query)
        time.sleep(3)
        return {"kib": (resident_kib(way.pids) - before) / count}
    finally:
        close_all(sockets)


STATEMENT = "create index concurrently bench_i on bench_small(v);\n"
DROP = "drop index bench_i;\n"


def aside(way, directory, in_transaction, count, anew=False):
    """Milliseconds of CREATE INDEX CONCURRENTLY on a small table as its client sees it, the mean of
    `count`, all in one session or, `anew`, each in its own. Dropping the index again is not counted."""
    path = os.path.join(directory, "aside.sql")
    with open(path, "w", encoding="ascii") as file:
        file.write(("begin;\n" + STATEMENT + "commit;\n" if in_transaction else STATEMENT) + DROP)
    out = command(way, ["pgbench", "-n", "-r", "-c", "1", "-t", str(count), "-f", path, *(["-C"] if anew else [])])
    return {"ms": number(r"([\d.]+)\s+\d+\s+create index", out)}


PARTS = ("connecting", "settings", "looking", "running", "verifying")


def aside_parts(lines):
    """`lines` are (seconds, line) of a log at level debug: the mean milliseconds in each state of an
    aside, and those from the gate's closing to the aside's start."""
    spent, entered, count = dict.fromkeys(("gate", *PARTS), 0.0), None, 0
    for when, line in lines:
        found = re.search(r"event=(gate|aside)_state session=\d+ from=(\w+) to=(\w+)", line)
        if not found:
            continue
        machine, old, new = found.groups()
        if machine == "gate" and old == "open":
            entered = when
        elif machine == "gate" and new == "aside" and entered:
            spent["gate"] += (when - entered) * 1000
            entered, count = when, count + 1
        elif machine == "aside" and entered:
            if old in spent:
                spent[old] += (when - entered) * 1000
            entered = when
    return {name: ms / count for name, ms in spent.items()} if count else {}


def system_calls(way, count, mode="simple"):
    """System calls of a proxy for each transaction: two messages are relayed, one there and one back."""
    report = subprocess.Popen(["strace", "-c", "-f", "-p", str(way.process.pid)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    report.stderr.readline()
    time.sleep(0.5)
    command(way, ["pgbench", "-n", "-S", "-M", mode, "-c", "1", "-t", str(count)])
    report.send_signal(2)
    calls = {}
    for line in report.communicate()[1].splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
        if found and found.group(2) != "total":
            calls[found.group(2)] = int(found.group(1)) / count
    return calls
