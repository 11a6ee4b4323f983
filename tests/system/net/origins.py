"""Servers at wildcard addresses and their clients, and how each of them is called by the other one:
PORT, a free one."""

import itertools
import socket
import sys

HOSTS = {
    "0.0.0.0": ("127.0.0.1", "::ffff:127.0.0.1"),
    "::": ("127.0.0.1", "::1", "::ffff:127.0.0.1"),
    "127.0.0.1": ("127.0.0.1", "::ffff:127.0.0.1"),
    "::1": ("::1",),
}
PORTS = {"own": 0, "given": int(sys.argv[1])}


def made(host: str, kind: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    one.settimeout(2)
    return one


def ask(here: str, which: str, there: str, is_connected: bool) -> None:
    with made(here, socket.SOCK_DGRAM) as server, made(there, socket.SOCK_DGRAM) as client:
        server.bind((here, PORTS[which]))
        address = (there, server.getsockname()[1])
        said = ["udp", here, which, there]
        if is_connected:
            client.connect(address)
            client.send(b"question")
            said += ["client", client.getsockname()[0], client.getpeername()[0]]
        else:
            client.sendto(b"question", address)
        peer = server.recvfrom(9)[1]
        server.sendto(b"answer", peer)
        sender = client.recvfrom(9)[1]
        print(*said, "peer", peer[0], "sender", sender[0], sender[1] == address[1])
        assert peer[1] == client.getsockname()[1]


for here, which in itertools.product(HOSTS, PORTS):
    for there, is_connected in itertools.product(HOSTS[here], (False, True)):
        ask(here, which, there, is_connected)

for here, hosts in HOSTS.items():
    with made(here, socket.SOCK_STREAM) as server:
        server.bind((here, 0))
        server.listen()
        for there in hosts:
            with made(there, socket.SOCK_STREAM) as client:
                client.connect((there, server.getsockname()[1]))
                print("tcp", here, there, client.getsockname()[0], client.getpeername()[0])
