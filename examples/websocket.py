"""A WebSocket echo server and a client that says one word, for the tour of README.md. Short text messages only.

    websocket.py serve ADDRESS:PORT
    websocket.py say ADDRESS:PORT HOST TEXT
"""

import base64
import hashlib
import os
import socket
import socketserver
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def read_head(stream):
    """Reads to the empty line; gives the first line and the fields."""
    first = stream.readline()
    fields = {}
    while (line := stream.readline()) not in (b"\r\n", b"\n", b""):
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return first, fields


def unmask(mask, data):
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        _, fields = read_head(self.rfile)
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(fields.get(b"sec-websocket-key", b"")) + b"\r\n\r\n"
        )
        while len(head := self.rfile.read(2)) == 2:
            mask, data = self.rfile.read(4), self.rfile.read(head[1] & 127)
            self.wfile.write(head[:1] + bytes([len(data)]) + unmask(mask, data))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def say(address, host, text):
    key, mask, data = base64.b64encode(os.urandom(16)), os.urandom(4), text.encode()[:125]
    with socket.create_connection(address, timeout=10) as connection, connection.makefile("rwb") as stream:
        stream.write(
            b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        stream.flush()
        first, fields = read_head(stream)
        if b" 101 " not in first or fields.get(b"sec-websocket-accept") != accept_key(key):
            sys.exit("no WebSocket here: " + first.decode().strip())
        stream.write(b"\x81" + bytes([0x80 | len(data)]) + mask + unmask(mask, data))
        stream.flush()
        head = stream.read(2)
        print(stream.read(head[1] & 127).decode())


def main():
    try:
        what, place, *words = sys.argv[1:]
        host, _, port = place.rpartition(":")
        if what == "serve":
            Server((host, int(port)), Echo).serve_forever()
        elif what == "say":
            say((host, int(port)), *words)
        else:
            raise ValueError(what)
    except ValueError:
        sys.exit(__doc__)
    except OSError as error:
        sys.exit(str(error))


main()
