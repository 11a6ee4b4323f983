"""net: a loopback interface of the view's own, ports and names of sockets that move."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from tests.system.command import USERS, said, viewos
from tests.system.net.servers import BODY, closed_port, datagrams, serving
from tests.system.view import run_in_view, started
from tests.system.witness import build

HERE = Path(__file__).parent / "net"
pytestmark = pytest.mark.timeout(60)
each_user = pytest.mark.parametrize("user", USERS, ids=lambda user: f"as-{user}")


def connect(port: int, host: str = "127.0.0.1") -> list[str]:
    program = (
        "import socket, sys\n"
        "try: print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 9).recv(9))\n"
        "except OSError as e: print(e.strerror)"
    )
    return ["python3", "-c", program, host, str(port)]


@pytest.mark.timeout(200)
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_static_go_server(host: str) -> None:
    """While a server of the machine has the same port."""
    program = build("goserver", folder=HERE)
    with serving() as port:
        for rules in ("ports=private", "none"):
            seen = run_in_view([f"net:{rules}"], [program, f"{host}:{port}"], user=USERS[-1])
            where = f"{host}:{port}"
            assert seen.stdout.decode() == (f"a line came to {where}\n{where} {where} served\n"), (
                seen.stderr
            )


@each_user
@pytest.mark.parametrize("rules", ["ports=private", "none"])
def test_servers_and_clients_see_what_they_see_natively(rules: str, user: int) -> None:
    words = ["python3", str(HERE / "loopback.py"), str(closed_port())]
    native = run_in_view(None, words, user=user, check=True)
    seen = run_in_view([f"net:{rules}"], words, user=user, check=True)
    assert (seen.stdout, seen.stderr) == (native.stdout, b"")
    assert native.stdout.count(b"and back") == 8


@pytest.mark.parametrize("rules", ["ports=private", "none"])
def test_a_server_answers_where_it_does_natively(rules: str) -> None:
    words = ["python3", str(HERE / "reaching.py"), str(closed_port())]
    native = run_in_view(None, words, check=True)
    seen = run_in_view([f"net:{rules}"], words, check=True)
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")


@each_user
@pytest.mark.parametrize("rules", ["ports=private", "none"])
def test_who_asks_and_who_answers(rules: str, user: int) -> None:
    """Where servers are at wildcard addresses, with ports that were given to them or chosen."""
    words = ["python3", str(HERE / "origins.py"), str(closed_port())]
    native = run_in_view(None, words, user=user, check=True)
    seen = run_in_view([f"net:{rules}"], words, user=user, timeout=30)
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")
    assert b" sender ::1 True" in native.stdout


def test_ten_views_serve_the_same_port() -> None:
    """Each is reached by its own program, and by no other."""
    port = closed_port()
    program = """
import socket, sys, os
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True); sys.stdin.readline()
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.accept()[0].sendall(sys.argv[2].encode()); print(c.recv(9).decode(), flush=True)
"""
    views = [
        started(
            ["net:ports=private"], ["python3", "-c", program, str(port), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=USERS[-1],
        )
        for number in range(10)
    ]  # fmt: skip
    running = [view.__enter__() for view in views]
    try:
        assert [one.stdout.readline() for one in running] == [b"serving\n"] * 10
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        assert run_in_view(["net:none"], connect(port)).stdout == b"Connection refused\n"
        for one in running:
            one.stdin.write(b"\n")
            one.stdin.flush()
        told = [one.stdout.readline() for one in running]
        assert told == [b"%d\n" % number for number in range(10)]
    finally:
        for view in views:
            view.__exit__(None, None, None)


def test_the_machine_is_not_seen() -> None:
    """Neither its loopback interface nor, with `none`, anything else; a rule lets in what it
    names."""
    with serving() as port:
        for rules in ("ports=private", "none"):
            told = run_in_view([f"net:{rules}"], connect(port)).stdout
            assert told == b"Connection refused\n"
        words = ["curl", "-sS", f"http://127.0.0.1:{port}/"]
        assert run_in_view([f"net:allow=127.0.0.1:{port},none"], words).stdout == BODY
    told = run_in_view(["net:none"], connect(80, "192.0.2.1")).stdout
    assert told == b"Network is unreachable\n"
    program = """
import socket
try: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
except OSError as e: print(e.strerror)
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except OSError as e: print(e.strerror)
"""
    told = run_in_view(["net:none"], ["python3", "-c", program]).stdout
    assert told == b"Network is unreachable\nOperation not permitted\n"


def test_datagrams_of_the_machine_are_not_seen() -> None:
    program = """
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(0.3)
s.connect(("127.0.0.1", int(sys.argv[1])))
try: s.send(b"x"); print(s.recv(9))
except OSError as e: print(e.strerror or e)
"""
    with datagrams() as port:
        words = ["python3", "-c", program, str(port)]
        assert run_in_view(None, words).stdout == b"b'x'\n"
        assert run_in_view(["net:ports=private"], words).stdout == b"Connection refused\n"


def test_a_listener_of_the_machine_on_all_addresses_blocks_the_port() -> None:
    with serving(host="0.0.0.0") as port:
        program = f"import socket; socket.create_server(('127.0.0.1', {port}))"
        result = run_in_view(["net:ports=private"], ["python3", "-c", program])
        assert b"Address already in use" in result.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="two users")
def test_ports_below_1024_stay_privileged() -> None:
    program = """
import socket
try: socket.create_server(("127.0.0.1", 1))
except OSError as e: print(e.errno)
else: print("bound")
"""
    for user in USERS:
        words = ["python3", "-c", program]
        before = ["sysctl", "-n", "net.ipv4.ip_unprivileged_port_start"]
        assert subprocess.run(before, capture_output=True, check=True).stdout.strip() == b"1024"
        native = run_in_view(None, words, user=user).stdout
        assert run_in_view(["net:ports=private"], words, user=user).stdout == native


def test_ports_that_move() -> None:
    program = """
import socket, sys
asked = int(sys.argv[1])
s = socket.create_server(("127.0.0.1", asked)); print(s.getsockname()[1] == asked)
c = socket.create_connection(("127.0.0.1", asked)); a, _ = s.accept()
print(c.getpeername()[1] == asked, a.getsockname()[1] == asked)
real = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
"""
    asked, real = closed_port(), closed_port()
    for spec in (f"bind={asked}={real}", f"bind=127.0.0.1:{asked}=127.0.0.1:{real}"):
        words = ["python3", "-c", program, str(asked), str(real)]
        result = run_in_view([f"net:{spec}"], words)
        assert (result.stdout, result.stderr) == (b"True\nTrue True\n", b"")


def test_a_privileged_port_without_privilege() -> None:
    program = "import socket; print(socket.create_server(('', 80)).getsockname()[1])"
    result = run_in_view(
        [f"net:bind=80={closed_port()}"], ["python3", "-c", program], user=USERS[-1]
    )
    assert (result.stdout, result.stderr) == (b"80\n", b"")


# ---- AF_UNIX ------------------------------------------------------------------------------------

UNIX = """
import os, socket, struct
s = socket.socket(socket.AF_UNIX); s.bind("/run/a.sock"); s.listen(); print(s.getsockname())
os.chdir("/run")
for name in ("/run/../run/a.sock", "a.sock"):
    c = socket.socket(socket.AF_UNIX); c.connect(name); print(c.getpeername())
    a, _ = s.accept(); print(a.getsockname(), repr(c.getsockname()))
    print(struct.unpack("3i", a.getsockopt(1, 17, 12))[0] == os.getpid())
try: socket.socket(socket.AF_UNIX).connect("/run/b.sock")
except OSError as e: print(e.strerror)
"""


TOLD = """
import socket, sys
def made(kind, name):
    s = socket.socket(socket.AF_UNIX, kind); s.bind(name); return s
one, other, third = (eval(name) for name in sys.argv[1:])
s, c = made(socket.SOCK_DGRAM, one), made(socket.SOCK_DGRAM, other)
for receive in (lambda: s.recvfrom(9)[1], lambda: s.recvmsg(9)[3]):
    c.sendto(b"ping", one); sender = receive(); print(sender == other)
    s.sendto(b"pong", sender); print(c.recvfrom(9) == (b"pong", one))
    s.sendmsg([b"pong"], [], 0, sender); print(c.recvfrom(9) == (b"pong", one))
s.setblocking(False)
try: s.recvfrom(9)
except BlockingIOError as e: print(e.strerror)
l = made(socket.SOCK_STREAM, third); l.listen()
for name in (one + type(one)(one[-1:]), ""):
    c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if name and name[:1] in ("\\0", b"\\0"): c.bind(name)
    c.connect(third); a, peer = l.accept()
    print(peer == a.getpeername() == c.getsockname(), c.getpeername() == a.getsockname() == third)
    c.sendall(b"x"); print(a.recvfrom(9)[0])
"""


@each_user
def test_who_sent_and_who_connects(tmp_path: Path, user: int) -> None:
    """Names come back as the view has them, so that an answer finds its way."""
    os.chown(tmp_path, user, user)
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o055)
    moved = ",".join(f"unix=/run/{name}.sock={tmp_path}/{name}" for name in "abc")
    paths = [f"'/run/{name}.sock'" for name in "abc"]
    abstract = [f"b'\\0{name}-{os.getpid()}'" for name in "abc"]
    expected = b"True\n" * 6 + b"Resource temporarily unavailable\n" + b"True True\nb'x'\n" * 2
    for modules, names in (
        (None, abstract),
        (["net:ports=private"], abstract),
        (["net:none", "vfs:/mnt=/usr"], abstract),
        ([f"net:{moved}"], paths),
        ([f"net:ports=private,{moved}", "vfs:/mnt=/usr"], paths),
    ):
        result = run_in_view(modules, ["python3", "-c", TOLD, *names], user=user, timeout=20)
        assert (result.stdout, result.stderr) == (expected, b""), modules
        for path in tmp_path.iterdir():
            path.unlink()


@each_user
def test_a_name_that_stands_for_another(tmp_path: Path, user: int) -> None:
    os.chown(tmp_path, user, user)
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o055)
    told = b"/run/a.sock\n" + b"/run/a.sock\n/run/a.sock ''\nTrue\n" * 2
    for modules in (
        [f"net:unix=/run/a.sock={tmp_path}/real"],
        [f"vfs:/mnt={tmp_path}", "net:unix=/run/a.sock=/mnt/real"],
    ):
        result = run_in_view(modules, ["python3", "-c", UNIX], user=user)
        assert result.stderr == b""
        assert result.stdout == told + b"No such file or directory\n"
        (tmp_path / "real").unlink()


def test_abstract_names_are_the_views_own() -> None:
    program = """
import socket
a = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); a.bind("\\0viewos-test-name")
print(a.getsockname())
b = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); b.sendto(b"x", "\\0viewos-test-name")
b.connect("\\0viewos-test-name"); print(a.recv(9), b.getpeername())
c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); c.bind(""); d = c.getsockname()
b.connect(d); print(len(d), b.getpeername() == d)
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
        mine.bind("\0viewos-test-name" + struct.pack("=I", os.getpid()).hex())
        name = mine.getsockname().decode().replace("\0", "\\0")
        here = program.replace("\\0viewos-test-name", name)
        result = run_in_view(["net:ports=private"], ["python3", "-c", here])
    shown = mine.getsockname() if mine.fileno() >= 0 else None
    assert shown is None and result.stderr == b""
    first, second, third = result.stdout.splitlines()
    assert b"viewos-test-name" in first and b"viewos/" not in first
    assert second.startswith(b"b'x' ") and b"viewos/" not in second and third == b"6 True"


# ---- publish ------------------------------------------------------------------------------------

SERVER = """
import socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1]))); print("serving", flush=True)
while True:
    c, _ = s.accept(); c.sendall(b"from the view " + c.recv(9)); c.close()
"""


@pytest.mark.parametrize("by_name", [False, True])
def test_publish(by_name: bool) -> None:
    inside, outside = closed_port(), closed_port()
    with started(
        ["net:ports=private"], ["python3", "-c", SERVER, str(inside)], stdout=subprocess.PIPE
    ) as view:
        assert view.stdout.readline() == b"serving\n"
        name = str(view.pid)
        if by_name:
            name = f"published {view.pid}"
            assert viewos("name", str(view.pid), name).returncode == 0
        words = ["net", "publish", name, f"{inside}:{outside}"]
        with started(None, [*_viewos(), *words], stdout=subprocess.PIPE) as relay:
            assert relay.stdout.readline().startswith(b"127.0.0.1:%d leads to 127." % outside)
            answers: list[bytes] = []

            def ask() -> None:
                with socket.create_connection(("127.0.0.1", outside), 10) as connection:
                    connection.sendall(b"x")
                    answers.append(connection.makefile("rb").read())

            threads = [threading.Thread(target=ask) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert answers == [b"from the view x"] * 5
            relay.terminate()
            relay.wait(10)
        view.kill()


def test_wrong_words_of_publish() -> None:
    words = {
        ("1", "80"): (2, "viewos net publish: expected VIEW PORT:PORT"),
        (str(os.getpid()), "80:81"): (125, f"there is no view {os.getpid()} with ports=private"),
        ("no such view", "80:81"): (125, "there is no view no such view"),
        ("x", "80:81:82"): (2, "viewos net publish: expected VIEW PORT:PORT"),
    }
    for given, (status, line) in words.items():
        result = said(viewos("net", "publish", *given))
        assert result[0] == status and result[1].startswith(line), result


def _viewos() -> list[str]:
    import sys

    return [sys.executable, "-m", "viewos"]


# ---- wrong words --------------------------------------------------------------------------------

WRONG = {
    "net:none=1": "item 1: expected none, with nothing behind it",
    "net:ports=80": "item 1: expected ports=private",
    "net:bind=80": "item 1: expected bind=PORT=PORT",
    "net:bind=80=0": "item 1: 0 is no port",
    "net:bind=any=127.0.0.1": "item 1: expected bind=PORT=PORT",
    "net:unix=a=b": "item 1: expected unix=/PATH=/PATH",
    "net:unix=/a=/" + "b" * 108: "a name of a socket has at most 107 bytes",
}


@pytest.mark.parametrize("spec", WRONG, ids=lambda spec: spec[:20])
def test_wrong_words(spec: str) -> None:
    status, line = said(viewos("run", "-m", spec, "--", "true"))
    assert status == 2 and WRONG[spec] in line and "(for example: -m net:" in line


# ---- views in views -----------------------------------------------------------------------------


def test_a_nested_view() -> None:
    """The inner view's rules come first, the outer one's behind them."""
    with serving() as port:
        inner = [*_viewos(), "run", "-m", "net:map=10.0.0.1:80=10.0.0.2", "--"]
        words = [
            "sh",
            "-c",
            f"{' '.join(inner)} curl -sS http://10.0.0.1/; curl -sS http://10.0.0.1/",
        ]
        options = [
            "--nestable",
            "-m",
            f"net:map=10.0.0.2:80=127.0.0.1:{port},deny=10.0.0.0/8",
            "--",
        ]
        result = viewos("run", *options, *words)
    assert result.stdout == BODY and result.stderr.count(b"\n") == 1
    result = viewos("run", "--", *inner, "true")
    assert result.returncode == 125 and b"--nestable" in result.stderr


@pytest.mark.parametrize("rules", ["ports=private", "none", "bind=80=8080", "map=[::1]/udp=[::1]"])
def test_flow_labels_are_not_told(rules: str) -> None:
    words = ["python3", str(HERE / "flows.py")]
    native = run_in_view(None, words, check=True)
    seen = run_in_view([f"net:{rules}"], words, check=True)
    assert (seen.stdout.decode(), seen.stderr) == (native.stdout.decode(), b"")
