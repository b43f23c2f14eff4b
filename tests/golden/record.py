#!/usr/bin/python3
"""record.py FILE.rec HOST:PORT COMMAND...: runs COMMAND against a recording TCP relay.

COMMAND gets PGHOST and PGPORT of the relay in its environment, PGSSLMODE=disable unless set, and
{port} replaced in its arguments; everything it sends goes to HOST:PORT, and what comes back to it.
What passed over its first connection is written to FILE.rec; further connections must not be. The
exit status is that of COMMAND.

A recording is a sequence of pieces as they were read, in their order: one byte 'F' (from the
frontend, the client) or 'B' (from the backend, the server), a 32-bit big-endian length, and that
many bytes. Record against a throwaway server only: log-ins are in it as they were sent.
"""
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading


def relay(listener, upstream, pieces):
    """Relays one connection until both sides have ended it."""
    client, _ = listener.accept()
    server = socket.create_connection(upstream)
    selector = selectors.DefaultSelector()
    selector.register(client, selectors.EVENT_READ, (b"F", server))
    selector.register(server, selectors.EVENT_READ, (b"B", client))
    while selector.get_map():
        for key, _ in selector.select():
            side, peer = key.data
            try:
                data = key.fileobj.recv(65536)
            except ConnectionError:
                data = b""
            if data:
                pieces.append((side, data))
                peer.sendall(data)
                continue
            selector.unregister(key.fileobj)
            try:
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    path, address, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    host, port = address.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    own_port = str(listener.getsockname()[1])
    pieces = []
    thread = threading.Thread(target=relay, args=(listener, (host, int(port)), pieces), daemon=True)
    thread.start()
    environment = dict(os.environ, PGHOST="127.0.0.1", PGPORT=own_port)
    environment.setdefault("PGSSLMODE", "disable")
    command = [argument.replace("{port}", own_port) for argument in command]
    status = subprocess.run(command, env=environment, check=False).returncode
    thread.join(timeout=5)
    with open(path, "wb") as out:
        for side, data in pieces:
            out.write(side + struct.pack(">I", len(data)) + data)
    sys.exit(status)


if __name__ == "__main__":
    main()
