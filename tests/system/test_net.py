"""net: real clients and servers, natively and in views, see the same."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.system.command import USERS, said, viewos
from tests.system.net.proxies import asking
from tests.system.net.servers import (
    BODY,
    closed_port,
    datagrams,
    echo,
    full_backlog,
    serving,
)
from tests.system.view import run_in_view
from tests.system.witness import build, cache

HERE = Path(__file__).parent / "net"
pytestmark = pytest.mark.timeout(60)
each_user = pytest.mark.parametrize("user", USERS, ids=lambda user: f"as-{user}")


@pytest.fixture(scope="module")
def client() -> str:
    """The C client, a static program of musl: nothing of it can be preloaded."""
    program = cache() / "net-client"
    source = str(HERE / "client.c")
    subprocess.run(["musl-gcc", "-static", "-O1", "-o", program, source], check=True, timeout=60)
    program.chmod(0o755)
    return str(program)


# ---- real clients -------------------------------------------------------------------------------

PYTHON = "import urllib.request as r; print(r.urlopen('http://10.1.2.3/').read().decode(), end='')"
ASYNCIO = """
import asyncio
async def main():
    reader, writer = await asyncio.open_connection("10.1.2.3", 80)
    writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print((await reader.read()).split(b"\\r\\n\\r\\n")[1].decode(), end="")
    writer.close()
asyncio.run(main())
"""
ASK = "printf 'GET / HTTP/1.0\\r\\n\\r\\n'"
CLIENTS = {
    "curl": ["curl", "-sS", "http://10.1.2.3/"],
    "wget": ["wget", "-qO-", "http://10.1.2.3/"],
    "urllib": ["python3", "-c", PYTHON],
    "asyncio": ["python3", "-c", ASYNCIO],
    "nc": ["sh", "-c", f"{ASK} | nc -N 10.1.2.3 80 | tail -n 1"],
    "socat": ["sh", "-c", f"{ASK} | socat -t 5 - TCP:10.1.2.3:80 | tail -n 1"],
    "bash": ["bash", "-c", f"exec 3<>/dev/tcp/10.1.2.3/80; {ASK} >&3; tail -n 1 <&3"],
    "busybox": ["busybox", "wget", "-qO-", "http://10.1.2.3/"],
}


@pytest.mark.parametrize("user", USERS[-1:], ids=lambda user: f"as-{user}")
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_reaches_the_mapped_server(name: str, user: int) -> None:
    with serving() as port:
        modules = [f"net:map=10.0.0.0/8:80=127.0.0.1:{port},deny=any"]
        result = run_in_view(modules, CLIENTS[name], user=user)
    assert (result.stdout, result.stderr) == (BODY, b"")


@pytest.mark.timeout(200)
def test_a_static_go_program() -> None:
    program = build("goclient", folder=HERE)
    with serving() as port:
        modules = [f"net:map=10.0.0.0/8:80=127.0.0.1:{port},deny=any"]
        result = run_in_view(modules, [program, "10.1.2.3:80"])
    assert result.stdout == b"10.1.2.3:80\n" + BODY


# ---- the same natively and in a view ------------------------------------------------------------


def same(argv: list[str], host: str, port: int, *, user: int | None = None) -> bytes:
    """What a program prints, which is the same natively and in a view where an address of no
    network stands for the real one."""
    mapped, shown = ("[fd00::/8]", "fd00::1") if ":" in host else ("10.0.0.0/8", "10.0.0.1")
    to = f"[{host}]" if ":" in host else host
    native = run_in_view(None, [*argv, host, str(port)], user=user, check=True)
    for modules in (
        [f"net:map={mapped}:{port}={to},map={mapped}/udp={to}", "vfs:/mnt=/usr"],
        [f"net:map={mapped}:{port}={to}:{port},map={mapped}:{port}/udp={to}"],
    ):
        seen = run_in_view(modules, [*argv, shown, str(port)], user=user, check=True)
        assert seen.stderr == native.stderr == b""
        assert seen.stdout.replace(shown.encode(), host.encode()) == native.stdout
    return native.stdout


@each_user
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connecting(client: str, host: str, user: int) -> None:
    with serving(echo, host) as port:
        told = same([client, "blocking"], host, port, user=user)
        assert b"as given: 1" in told and b"read 4 ping" in told and b"end 0" in told
        told = same([client, "nonblocking"], host, port, user=user)
        assert b"Operation now in progress" in told or b"in progress" in told
        assert b"SO_ERROR none" in told and b"read 4 ping" in told


def test_nobody_listens(client: str) -> None:
    port = closed_port()
    assert b"connect: Connection refused" in same([client, "blocking"], "127.0.0.1", port)
    assert b"SO_ERROR Connection refused" in same([client, "nonblocking"], "127.0.0.1", port)


@pytest.mark.parametrize("how", ["interrupt", "restart"])
def test_a_signal_while_a_connect_waits(client: str, how: str) -> None:
    with full_backlog() as port:
        told = same([client, how], "127.0.0.1", port)
    assert told.startswith(b"signal\n") and told.endswith(b"end\n")
    assert (b"connect: Interrupted" in told) is (how == "interrupt")


def test_fast_open(client: str) -> None:
    """The address stands behind a pointer of sendmsg: the kernel's filter sees the flag."""
    with serving(echo) as port:
        modules = [f"net:map=10.0.0.0/8:80=127.0.0.1:{port}"]
        seen = run_in_view(modules, [client, "fastopen", "10.0.0.1", "80"])
        assert seen.stdout == b"sendto: done\n4\nread 4 ping\nsendmsg: done\n"
        seen = run_in_view(["net:deny=any/tcp"], [client, "fastopen", "127.0.0.1", str(port)])
        assert seen.stdout == b"sendto: Permission denied\n-1\nsendmsg: Permission denied\n"


def test_what_the_kernel_refuses(client: str) -> None:
    told = same([client, "refusals"], "127.0.0.1", closed_port())
    assert told.count(b"\n") == 7 and b"bad pointer: Bad address" in told


@each_user
def test_datagrams(user: int) -> None:
    with datagrams() as port:
        told = same(["python3", str(HERE / "datagrams.py")], "127.0.0.1", port, user=user)
    assert told.count(b"THERE") == 9 and b"signal\n" in told


# ---- what is refused ----------------------------------------------------------------------------

FAMILIES = """
import socket
for name, family, kind in (
    ("tcp", 2, 1), ("tcp6", 10, 1), ("udp", 2, 2), ("udp6", 10, 2), ("raw", 2, 3), ("raw6", 10, 3),
    ("packet", 17, 2), ("vsock", 40, 1), ("smc", 43, 1), ("unix", 1, 1), ("netlink", 16, 3),
):
    try:
        socket.socket(family, kind, 1 if name.startswith("raw") else 0).close()
        print(name, "made")
    except OSError as error:
        print(name, error.strerror)
"""


def test_what_would_pass_the_rules_by_is_refused() -> None:
    result = run_in_view(["net:allow=127.0.0.0/8,deny=any"], ["python3", "-c", FAMILIES])
    told = dict(line.split(" ", 1) for line in result.stdout.decode().splitlines())
    made = {name for name, text in told.items() if text == "made"}
    assert made == {"tcp", "tcp6", "unix", "netlink"}
    assert {told[name] for name in told.keys() - made} == {"Operation not permitted"}
    lines = result.stderr.decode().splitlines()
    assert len([line for line in lines if "UDP" in line and "/udp" in line]) == 1
    assert all(line.startswith("viewos: net: ") for line in lines) and len(lines) == 5
    result = run_in_view(["net:map=10.0.0.0/8:1=127.0.0.1"], ["python3", "-c", FAMILIES])
    assert b"udp made" in result.stdout and b"udp6 made" in result.stdout


def test_a_denied_address() -> None:
    with serving() as port:
        words = ["curl", "-sS", "-m", "9", f"http://127.0.0.1:{port}/"]
        assert run_in_view(["net:allow=127.0.0.0/8,deny=any"], words).stdout == BODY
        assert run_in_view(["net:deny=127.0.0.1:1-99"], words).stdout == BODY
        for rules in ("deny=any", "allow=127.0.0.2,deny=127.0.0.0/8", f"deny=any:{port}/tcp"):
            assert run_in_view([f"net:{rules}"], words).returncode == 7
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        result = run_in_view(["net:deny=any"], ["python3", "-c", program])
        assert b"PermissionError: [Errno 13]" in result.stderr


ONLY = """
import socket, sys
port = int(sys.argv[1])
def made(kind):
    s = socket.socket(socket.AF_INET6, kind); s.settimeout(9)
    s.setsockopt(socket.IPPROTO_IPV6, 26, 1)  # IPV6_V6ONLY, as Go's "tcp6" sets it
    return s
def attempt(s, host):
    try: s.connect((host, port)); s.send(b"x"); print(s.recv(9), s.getpeername()[0])
    except OSError as e: print(e.strerror)
attempt(made(socket.SOCK_STREAM), "fd00::1")
attempt(made(socket.SOCK_STREAM), "::ffff:127.0.0.1")
if len(sys.argv) > 2:
    attempt(made(socket.SOCK_DGRAM), "fd00::1")
    d = made(socket.SOCK_DGRAM); d.sendto(b"y", ("fd00::1", port)); print(d.recvfrom(9)[1][0])
"""


@each_user
def test_a_socket_of_ipv6_only(user: int) -> None:
    """Which cannot see that an address of IPv4 stands for its peer."""
    words = ["python3", "-c", ONLY]
    told = b"b'x' fd00::1\nNetwork is unreachable\n"
    with serving(echo) as port, datagrams() as udp, asking(to=port) as (proxy, _):
        rules = f"map=[fd00::/8]=127.0.0.1,map=[fd00::/8]/udp=127.0.0.1:{udp}"
        result = run_in_view([f"net:{rules}"], [*words, str(port), "udp"], user=user)
        assert (result.stdout, result.stderr) == (told + b"b'x' fd00::1\nfd00::1\n", b"")
        for mode in ("", ",proxy-mode=relay"):
            rules = f"proxy=socks5://127.0.0.1:{proxy}{mode}"
            result = run_in_view([f"net:{rules}"], [*words, str(port)], user=user)
            assert result.stdout == told, result.stderr


def test_denied_datagrams() -> None:
    program = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for send in (lambda a: s.sendto(b"x", a), lambda a: s.sendmsg([b"x"], [], 0, a), s.connect):
    try: print(send(("127.0.0.1", int(sys.argv[1]))))
    except OSError as e: print(e.strerror)
"""
    with datagrams() as port:
        words = ["python3", "-c", program, str(port)]
        denied = run_in_view(["net:allow=10.0.0.0/8/udp,deny=any"], words)
        allowed = run_in_view(["net:allow=127.0.0.0/8/udp,deny=any"], words)
    assert denied.stdout == b"Permission denied\n" * 3
    assert allowed.stdout == b"1\n1\nNone\n"


def test_names_of_unix_sockets_are_still_paths(tmp_path: Path) -> None:
    """With a file module: names lead to the backing, and come back."""
    program = """
import socket
s = socket.socket(socket.AF_UNIX); s.bind("/mnt/name"); s.listen()
c = socket.socket(socket.AF_UNIX); c.connect("/mnt/name"); print(c.getpeername(), s.getsockname())
a, _ = s.accept(); print(socket.SOCK_STREAM == a.type, a.getpeername() == "")
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind("/mnt/d")
e = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); print(e.sendto(b"x", "/mnt/d"))
"""
    rules = "map=10.0.0.0/8:1=127.0.0.1,map=10.0.0.0/8:1/udp=127.0.0.1"
    for modules in (
        [f"vfs:/mnt={tmp_path}", f"net:{rules}"],
        [f"net:{rules}", f"vfs:/mnt={tmp_path}"],
    ):
        result = run_in_view(modules, ["python3", "-c", program], check=True)
        assert result.stdout == b"/mnt/name /mnt/name\nTrue True\n1\n"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "name"]
        for path in tmp_path.iterdir():
            path.unlink()


def test_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving() as port:
        rules = f"map=10.0.0.0/8:80=127.0.0.1:{port},deny=10.0.0.0/8,log=log"
        script = "curl -sS http://10.1.2.3/; curl -sS http://10.1.2.3:81/; nc -u 127.0.0.1 9 <&-"
        run_in_view([f"net:{rules}"], ["sh", "-c", script], cwd=tmp_path)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [(x["call"], x["protocol"], x["address"], x["to"], x["result"]) for x in lines]
    mapped, denied, refused = told
    assert mapped[:4] == ("connect", "tcp", "10.1.2.3:80", f"127.0.0.1:{port}")
    assert mapped[4] in ("ok", "EINPROGRESS")
    assert denied == ("connect", "tcp", "10.1.2.3:81", None, "EACCES")
    assert lines[1]["rule"] == "deny=10.0.0.0/8" and lines[0]["pid"] > 1 < lines[0]["time"]
    assert refused == ("socket", "udp", None, None, "EPERM")
    assert log.stat().st_mode & 0o777 == 0o600


# ---- a worse network ----------------------------------------------------------------------------

FAULTS = """
import signal, socket, sys, time
signal.signal(signal.SIGALRM, lambda *_: None); signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
start, refused = time.monotonic(), 0
for _ in range(int(sys.argv[2])):
    try: socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
    except ConnectionResetError: refused += 1
print(refused, time.monotonic() - start)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_faults() -> None:
    """A share of connects fails; all of them wait, also under a timer that interrupts them."""
    with serving() as port:
        words = ["python3", "-c", FAULTS, str(port)]
        told = run_in_view(["net:fail=connect:ECONNRESET:0.3"], [*words, "200"], check=True)
        assert 20 < int(told.stdout.split()[0]) < 110
        told = run_in_view(["net:delay=connect:150ms"], [*words, "3"], check=True)
        refused, seconds = told.stdout.split()
        assert refused == b"0" and float(seconds) >= 0.45


STRUCK = """
import ctypes, errno, select, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
PORT = int(sys.argv[1]); A = ("127.0.0.1", PORT)
def raw(fd, call=libc.connect, port=PORT):
    name = struct.pack("=H", 2) + struct.pack("!H", port) + socket.inet_aton(A[0]) + bytes(8)
    return errno.errorcode[ctypes.get_errno()] if call(fd, name, 16) else "ok"
def say(what, function, *args):
    began = time.monotonic()
    try: told = function(*args)
    except OSError as error: told = errno.errorcode[error.errno]
    print(what, told, time.monotonic() - began > 0.15)
s = socket.socket()
say("first", raw, s.fileno()); say("again", raw, s.fileno())
say("bad", raw, 999); say("file", raw, 0)
say("bad bind", raw, 999, libc.bind, 0)
s = socket.socket(); say("bind", raw, s.fileno(), libc.bind, 0)
s = socket.socket(); s.setblocking(False); say("does not wait", raw, s.fileno())
p = select.poll(); p.register(s, select.POLLOUT); p.poll(1000); say("its end", raw, s.fileno())
s = socket.socket(); s.setblocking(False); say("nobody", raw, s.fileno(), libc.connect, 1)
p = select.poll(); p.register(s, select.POLLOUT); p.poll(1000)
say("its end", raw, s.fileno(), libc.connect, 1)
say("fast", socket.socket().sendto, b"x", socket.MSG_FASTOPEN, A)
s = socket.socket(type=socket.SOCK_DGRAM); say("UDP", s.connect_ex, A); say("UDP", s.connect_ex, A)
"""


@each_user
def test_what_faults_strike(user: int) -> None:
    """What begins, and neither what the kernel refuses nor the end of what has begun."""
    with serving() as port:
        words = ["python3", "-c", STRUCK, str(port)]
        told = [line.split() for line in run(None, words, user)]
        delayed = run(["net:delay=connect:200ms,delay=bind:200ms"], words, user)
        failed = run(["net:fail=connect:EIO,fail=bind:EIO"], words, user)
    begin = {0, 5, 6, 8, 10, 11, 12}
    assert len(told) == 13
    for index, (*what, slow) in enumerate(told):
        assert slow == "False"
        assert delayed[index] == " ".join([*what, str(index in begin)])
        if index in begin and index < 11:
            assert failed[index] == " ".join([*what[:-1], "EIO False"])


def run(modules: list[str] | None, words: list[str], user: int) -> list[str]:
    done = run_in_view(modules, words, user=user, check=True)
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


FOREIGN = """
import ctypes, errno, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
name = struct.pack("=H", 2) + struct.pack("!H", int(sys.argv[1])) + socket.inet_aton("127.0.0.1")
for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
    for call in libc.connect, libc.bind:
        for size in 16, 24, 28, 128:
            s = socket.socket(socket.AF_INET6, kind)
            result = call(s.fileno(), name.ljust(128, b"\\0"), size)
            print(kind, size, result, result and errno.errorcode[ctypes.get_errno()])
"""


@each_user
def test_an_address_of_ipv4_for_a_socket_of_ipv6(user: int) -> None:
    with serving() as port:
        words = ["python3", "-c", FOREIGN, str(port)]
        native = run(None, words, user)
        assert "1 28 -1 EAFNOSUPPORT" in native
        for rules in ("ports=private", "none", "bind=9=19", "deny=any/udp", "fail=connect:EIO"):
            seen = run([f"net:{rules}"], words, user)
            if rules not in ("ports=private", "bind=9=19"):  # they know no such server
                seen = [a if a.startswith("2 ") else b for a, b in zip(native, seen, strict=True)]
            assert seen == native, rules


# ---- wrong words --------------------------------------------------------------------------------

WRONG = {
    "net": "module net: expected one of allow, deny, map, ",
    "net:alow=any": "module net: 'alow=any': item 1: there is no verb 'alow', there are allow, ",
    "net:allow=any,deny": "module net: 'deny': item 2: nothing is no address",
    "net:deny=localhost": "module net: 'deny=localhost': item 1: localhost is no address: a number",
    "net:deny=10.0.0.1/8": "module net: 'deny=10.0.0.1/8': item 1: 10.0.0.1 has bits behind its",
    "net:deny=10.0.0.0/33": "module net: 'deny=10.0.0.0/33': item 1: /33 is no length of a prefix",
    "net:deny=any:99999": "module net: 'deny=any:99999': item 1: 99999 is no port",
    "net:deny=any:9-3": "module net: 'deny=any:9-3': item 1: 9-3: the first port is above the last",
    "net:deny=fd00::/8": "module net: 'deny=fd00::/8': item 1: an IPv6 address stands in brackets",
    "net:deny=[fd00::": "module net: 'deny=[fd00::': item 1: [fd00:: has no ] behind the address",
    "net:map=10.0.0.1": "module net: 'map=10.0.0.1': item 1: expected map=ADDRESS=ADDRESS",
    "net:map=10.0.0.1=[::1]": "module net: 'map=10.0.0.1=[::1]': item 1: an IPv4 socket cannot",
    "net:map=any=1.2.3.4:1-2": "module net: 'map=any=1.2.3.4:1-2': item 1: 1-2 is more than one",
    "net:fail=connect": "module net: 'fail=connect': item 1: expected fail=CALL:ERRNO",
    "net:fail=read:EIO": "module net: 'fail=read:EIO': item 1: expected fail=CALL:ERRNO",
    "net:delay=connect:5": "module net: 'delay=connect:5': item 1: expected delay=CALL:TIME",
    "net:log=": "module net: 'log=': item 1: expected log=FILE",
    "net:deny=any,allow=10.0.0.1": "module net: 'allow=10.0.0.1' never counts, because 'deny=any'",
}


@pytest.mark.parametrize("spec", WRONG)
def test_wrong_words(spec: str) -> None:
    status, line = said(viewos("run", "-m", spec, "--", "true"))
    assert status == 2
    assert line.startswith(WRONG[spec])
    assert re.search(r"\(for example: -m net:\w+=", line), line


def test_a_log_that_cannot_be_written() -> None:
    status, line = said(viewos("run", "-m", "net:deny=any,log=/no/where", "--", "true"))
    assert (status, line) == (125, "module net: No such file or directory: /no/where")
