"""COPY .. FROM STDIN, its data and its end sent in one burst, before CopyInResponse has come.

Written byte by byte, as no driver known to us does it but the protocol allows. Each burst once
taken by the server and once refused, as simple Query and in the extended protocol, there with and
without the early Sync that libpq sends. The server must trust 127.0.0.1.
"""
import os
import socket
import struct

GOOD = b"copy burst from stdin"
BAD = b"copy no_such_table from stdin"


def message(kind, body=b""):
    return kind + struct.pack(">I", len(body) + 4) + body


def query(sql):
    return message(b"Q", sql + b"\0")


def extended(sql):
    return (message(b"P", b"\0" + sql + b"\0\0\0") + message(b"B", b"\0\0\0\0\0\0\0\0")
            + message(b"E", b"\0\0\0\0\0"))


DATA = message(b"d", b"1\n") + message(b"c")
SYNC = message(b"S")


class Server:
    def __init__(self):
        self.socket = socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])))
        self.file = self.socket.makefile("rb")
        packet = struct.pack(">HH", 3, 0) + b"user\0" + os.environ["PGUSER"].encode() + b"\0"
        packet += b"database\0" + os.environ["PGDATABASE"].encode() + b"\0\0"
        self.socket.sendall(struct.pack(">I", len(packet) + 4) + packet)
        self.wait(1)

    def wait(self, readies):
        """Reads until so many ReadyForQuery have come."""
        while readies > 0:
            kind = self.file.read(1)
            self.file.read(struct.unpack(">I", self.file.read(4))[0] - 4)
            readies -= kind == b"Z"

    def talk(self, burst, readies):
        self.socket.sendall(burst)
        self.wait(readies)


def main():
    server = Server()
    server.talk(query(b"create temporary table burst (id int)"), 1)
    for sql in (GOOD, BAD):
        server.talk(query(sql) + DATA, 1)
        server.talk(query(sql) + SYNC + DATA, 1 if sql is GOOD else 2)
        server.talk(extended(sql) + DATA + SYNC, 1)
        server.talk(extended(sql) + SYNC + DATA + SYNC, 1 if sql is GOOD else 2)
    server.talk(query(GOOD) + DATA + query(b"select count(*) from burst"), 2)
    server.talk(extended(GOOD) + DATA + extended(GOOD) + SYNC + DATA + SYNC, 1)
    server.socket.sendall(message(b"X"))


main()
