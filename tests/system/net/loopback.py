"""Servers and clients on the loopback interface, and what both are told: PORT."""

import os
import socket
import sys
import time

PORT = int(sys.argv[1])


def show(*what: object) -> None:
    print(*what, flush=True)


def attempt(call: object, *arguments: object) -> object:
    try:
        return call(*arguments)  # type: ignore[operator]
    except OSError as error:
        return error.strerror


def names(s: socket.socket) -> object:
    return attempt(s.getsockname), attempt(s.getpeername)


def meet(server: socket.socket, family: int, host: str) -> None:
    """A client connects; both say what they see, ephemeral ports apart."""
    client = socket.socket(family, socket.SOCK_STREAM)
    client.connect((host, PORT))
    connection, address = server.accept()
    show(address[0], address[1] == client.getsockname()[1])
    show(client.getsockname()[0], client.getpeername()[:2])
    show(connection.getsockname()[:2], connection.getpeername() == client.getsockname())
    client.sendall(b"there")
    show(connection.recv(9))
    connection.sendall(b"and back")
    show(client.recv(9))
    for one in (client, connection):
        one.close()


def server(family: int, host: str, only: int | None = None) -> socket.socket:
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if only is not None:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    show("bind", host, attempt(s.bind, (host, PORT)), s.getsockname()[:2])
    s.listen()
    return s


FOUR, SIX = socket.AF_INET, socket.AF_INET6
with server(FOUR, "127.0.0.1") as s:
    other = socket.socket()
    show(attempt(other.bind, ("127.0.0.1", PORT)))
    meet(s, FOUR, "127.0.0.1")
    with server(SIX, "::1", 1) as t:
        meet(t, SIX, "::1")
        meet(s, FOUR, "127.0.0.1")
with server(FOUR, "0.0.0.0") as s:
    meet(s, FOUR, "127.0.0.1")
    meet(s, FOUR, "0.0.0.0")
with server(SIX, "::", 0) as s:
    attempt(socket.create_connection, ("::1", PORT))
    s.accept()
    meet(s, FOUR, "127.0.0.1")
    meet(s, SIX, "::ffff:127.0.0.1")
with server(SIX, "::", 1) as s:
    meet(s, SIX, "::1")
    client = socket.socket()
    show(attempt(client.connect, ("127.0.0.1", PORT)))

# a client that chooses its own address, and one that does not want to wait
with server(FOUR, "127.0.0.2") as s:
    client = socket.socket()
    client.bind(("127.0.0.3", 0))
    show(client.getsockname()[0], client.getsockname()[1] > 0)
    client.connect(("127.0.0.2", PORT))
    connection, address = s.accept()
    show(address == client.getsockname(), address[0])
    s.setblocking(False)
    show(attempt(s.accept))
    connection.close()

# a socket that was never bound listens
s = socket.socket()
s.listen()
show(s.getsockname()[0], s.getsockname()[1] > 0)
client = socket.create_connection(("127.0.0.1", s.getsockname()[1]))
show(s.accept()[1] == client.getsockname())

# a child inherits the listener
with server(FOUR, "127.0.0.1") as s:
    if os.fork() == 0:
        connection, address = s.accept()
        connection.sendall(address[0].encode())
        os._exit(0)
    client = socket.create_connection(("127.0.0.1", PORT))
    show(client.recv(100))
    os.wait()

# datagrams: named and unnamed clients, connected and not, both families
for family, host in ((FOUR, "127.0.0.1"), (SIX, "::1")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.bind((host, PORT))
    show(s.getsockname()[:2])
    for connected in (False, True):
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(10)
        if connected:
            client.connect((host, PORT))
            show(client.getpeername()[:2], client.getsockname()[0])
            client.send(b"question")
        else:
            client.sendto(b"question", (host, PORT))
        data, sender = s.recvfrom(100)
        show(data, sender[0], sender[1] == client.getsockname()[1])
        s.sendto(b"answer", sender)
        data, sender = client.recvfrom(100)
        show(data, sender[:2])
        client.close()
    s.close()
any_socket = socket.socket(FOUR, socket.SOCK_DGRAM)
any_socket.bind(("0.0.0.0", PORT))
show(any_socket.getsockname())
client = socket.socket(FOUR, socket.SOCK_DGRAM)
client.sendto(b"x", ("127.0.0.1", PORT))
show(any_socket.recvfrom(9)[0])
client = socket.socket()
show(attempt(client.connect, ("127.0.0.1", PORT)))
time.sleep(0)
