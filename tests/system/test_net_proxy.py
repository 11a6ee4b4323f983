"""net: proxies, names, and what is said when they do not work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.system.command import USERS, said, viewos
from tests.system.net.proxies import (
    asking,
    dante,
    dns_packets,
    dying,
    microsocks,
    silent,
    tinyproxy,
)
from tests.system.net.servers import BODY, closed_port, echo, serving
from tests.system.view import run_in_view
from tests.system.witness import cache

HERE = Path(__file__).parent / "net"
pytestmark = pytest.mark.timeout(60)
as_root = pytest.mark.skipif(os.getuid() != 0, reason="a capture needs root")
USER = USERS[-1]


@pytest.fixture(scope="module")
def client() -> str:
    """The C client, a static program of musl."""
    program = cache() / "net-proxy-client"
    words = ["musl-gcc", "-static", "-O1", "-o", str(program), str(HERE / "client.c")]
    subprocess.run(words, check=True, timeout=60)
    program.chmod(0o755)
    return str(program)


def curl(host: str, port: int) -> list[str]:
    return ["curl", "-sS", "-m", "20", f"http://{host}:{port}/"]


# ---- real proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_microsocks(scheme: str) -> None:
    with serving() as port, microsocks() as proxy:
        modules = [f"net:proxy@any={scheme}://127.0.0.1:{proxy}"]
        for words in (curl("127.0.0.1", port), ["wget", "-qO-", f"http://127.0.0.1:{port}/"]):
            result = run_in_view(modules, words, user=USER)
            assert (result.stdout, result.stderr) == (BODY, b"")


def test_a_password(tmp_path: Path) -> None:
    """From the environment, a file or a descriptor; a wrong one is no secret that is told."""
    (tmp_path / "auth").write_text("me:secret\n")
    with serving() as port, microsocks("-u", "me", "-P", "secret") as proxy:
        words = curl("127.0.0.1", port)

        def told(auth: str, value: str = "") -> subprocess.CompletedProcess[bytes]:
            modules = [f"net:proxy@any=socks5://127.0.0.1:{proxy}{auth}"]
            return run_in_view(modules, words, env={"AUTH": value}, cwd=tmp_path)

        assert told(",proxy-auth=env:AUTH", "me:secret").stdout == BODY
        assert told(",proxy-auth=file:auth").stdout == BODY
        with open(tmp_path / "auth") as file:
            modules = [f"net:proxy@any=socks5://127.0.0.1:{proxy},proxy-auth=fd:{file.fileno()}"]
            result = run_in_view(modules, words, pass_fds=[file.fileno()])
            assert result.stdout == BODY
        wrong = told(",proxy-auth=env:AUTH", "me:wrongone")
        assert wrong.returncode == 7 and b"wrongone" not in wrong.stderr
        assert b"the user or the password" in wrong.stderr
        assert b"proxy-auth=env:VARIABLE" in told("").stderr


@as_root
def test_dante(tmp_path: Path) -> None:
    """Which resolves names itself, and says no by its rules."""
    with serving() as port, serving() as other, dante(tmp_path, deny=other) as proxy:
        for scheme, host in (("socks5", "127.0.0.1"), ("socks5h", "localhost")):
            modules = [f"net:proxy@any={scheme}://127.0.0.1:{proxy}"]
            result = run_in_view(modules, curl(host, port), user=USER)
            assert (result.stdout, result.stderr) == (BODY, b"")
            result = run_in_view(modules, curl(host, other), user=USER)
            assert result.returncode == 7 and result.stdout == b""


def test_tinyproxy(tmp_path: Path) -> None:
    with serving() as port, tinyproxy(tmp_path) as proxy:
        modules = [f"net:proxy@any=http://127.0.0.1:{proxy}"]
        result = run_in_view(modules, curl("localhost", port), user=USER)
        assert (result.stdout, result.stderr) == (BODY, b"")


def test_tinyproxy_with_a_password(tmp_path: Path) -> None:
    with serving() as port, tinyproxy(tmp_path, "BasicAuth me secret") as proxy:
        spec, words = f"net:proxy@any=http://127.0.0.1:{proxy}", curl("127.0.0.1", port)
        env = {"AUTH": "me:secret"}
        assert run_in_view([f"{spec},proxy-auth=env:AUTH"], words, env=env).stdout == BODY
        assert b"proxy-auth" in run_in_view([spec], words).stderr


def test_a_chain(tmp_path: Path) -> None:
    with serving() as port, microsocks() as first, tinyproxy(tmp_path) as second:
        chain = f"socks5://127.0.0.1:{first}+http://127.0.0.1:{second}+socks5h://127.0.0.1:{first}"
        result = run_in_view([f"net:proxy@any={chain}"], curl("127.0.0.1", port), user=USER)
        assert (result.stdout, result.stderr) == (BODY, b"")


# ---- what the program sees ----------------------------------------------------------------------


def test_every_way_to_connect(client: str) -> None:
    """Also a socket that does not want to wait is connected when connect returns."""
    with serving(echo) as port, asking(to=port) as (proxy, asked):
        modules = [f"net:allow=any/udp,proxy=socks5://127.0.0.1:{proxy}"]
        native = run_in_view(None, [client, "blocking", "127.0.0.1", str(port)])
        seen = run_in_view(modules, [client, "blocking", "10.0.0.1", str(port)], user=USER)
        assert seen.stdout.replace(b"10.0.0.1", b"127.0.0.1") == native.stdout
        seen = run_in_view(modules, [client, "nonblocking", "10.0.0.1", str(port)], user=USER)
        assert seen.stdout.startswith(b"connect: done\n") and b"read 4 ping" in seen.stdout
        assert b"peer 2 10.0.0.1, as given: 1, length 16" in seen.stdout
        seen = run_in_view(modules, [client, "fastopen", "10.0.0.1", str(port)])
        assert seen.stdout == b"sendto: done\n4\nread 4 ping\nsendmsg: done\n"
        seen = run_in_view(modules, [client, "blocking", "fd00::1", str(port)])
        assert b"read 4 ping" in seen.stdout and b"peer 10 fd00::1, as given: 1" in seen.stdout
    assert set(asked) == {f"10.0.0.1:{port}", f"fd00::1:{port}"}


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_what_comes_behind_the_reply_is_the_programs(scheme: str) -> None:
    """A server that speaks first, whose words come in one packet with the proxy's."""
    program = """
import socket, time
s = socket.create_connection(("10.0.0.1", 25))
time.sleep(0.1)
print(s.recv(100, socket.MSG_PEEK), s.recv(100))
"""
    banner = b"220 ready\r\n\r\n"
    ok = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n"
    http = serving(dying(ok + banner))
    with asking(early=banner) as (socks, _), http as web:
        port = {"socks5": socks, "http": web}[scheme]
        result = run_in_view([f"net:proxy={scheme}://127.0.0.1:{port}"], ["python3", "-c", program])
    assert result.stdout.decode() == f"{banner!r} {banner!r}\n"


def test_rules_and_proxies() -> None:
    """The first match wins; loopback is nobody's business; datagrams do not leak."""
    program = """
import socket, sys
for host, port in (("10.0.0.1", 80), ("11.0.0.1", 80), ("127.0.0.1", int(sys.argv[1]))):
    try: socket.create_connection((host, port), 9); print("connected")
    except OSError as e: print(e.strerror)
try: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("10.0.0.1", 9))
except OSError as e: print(e.strerror)
"""
    with serving() as port, asking(to=port) as (proxy, asked):
        rules = f"deny=11.0.0.0/8,proxy=socks5h://127.0.0.1:{proxy}"
        result = run_in_view([f"net:{rules}"], ["python3", "-c", program, str(port)])
    assert result.stdout == b"connected\nPermission denied\nconnected\nOperation not permitted\n"
    assert asked == ["10.0.0.1:80"]
    with serving() as port, asking(to=port) as (proxy, asked):
        rules = f"proxy@127.0.0.0/8=direct,proxy@any=socks5://127.0.0.1:{proxy}"
        run_in_view([f"net:{rules}"], curl("127.0.0.1", port), check=True)
    assert asked == []


# ---- signals ------------------------------------------------------------------------------------

SLOW = """
import signal, socket, sys
signal.signal(signal.SIGALRM, lambda *_: print("signal", flush=True))
signal.siginterrupt(signal.SIGALRM, sys.argv[2] == "interrupt")
signal.setitimer(signal.ITIMER_REAL, 0.2)
s = socket.socket()
s.connect(("10.0.0.1", int(sys.argv[1])))
s.sendall(b"after")
print(s.recv(100), s.getpeername()[0])
"""


@pytest.mark.parametrize("how", ["restart", "interrupt"])
def test_a_signal_in_the_middle_of_a_handshake(how: str) -> None:
    """Python asks SO_ERROR after an interrupted connect: then the handshake is done to its end."""
    with serving(echo) as port, asking(to=port, delay=0.6) as (proxy, _):
        modules = [f"net:proxy=socks5://127.0.0.1:{proxy}"]
        result = run_in_view(modules, ["python3", "-c", SLOW, str(port), how], user=USER)
    assert (result.stdout, result.stderr) == (b"signal\nb'after' 10.0.0.1\n", b"")


@pytest.mark.parametrize("how", ["interrupt", "restart"])
def test_a_proxy_that_says_nothing_and_signals(client: str, how: str) -> None:
    with serving(silent) as proxy:
        words = [client, how, "10.0.0.1", "80"]
        result = run_in_view([f"net:proxy=socks5://127.0.0.1:{proxy}"], words)
    again = b"signal\nconnect: Interrupted system call\nend\n"
    assert result.stdout == (b"signal\nend\n" if how == "restart" else again)


def test_others_run_while_one_waits() -> None:
    """Forty threads wait for a proxy that says nothing, and another process works on."""
    program = """
import socket, sys, threading
def wait():
    try: socket.create_connection(("10.0.0.1", 80))
    except OSError as e: errors.append(e.strerror)
errors, port = [], int(sys.argv[1])
threads = [threading.Thread(target=wait) for _ in range(40)]
for t in threads: t.start()
print(socket.create_connection(("127.0.0.1", port)).getpeername()[0], len(errors), flush=True)
for t in threads: t.join()
print(set(errors))
"""
    with serving() as port, serving(silent) as proxy:
        modules = [f"net:proxy=socks5://127.0.0.1:{proxy},proxy-timeout=2"]
        result = run_in_view(modules, ["python3", "-c", program, str(port)])
    assert result.stdout == b"127.0.0.1 0\n{'Connection timed out'}\n"


# ---- proxies that do not work -------------------------------------------------------------------

REPLIES = {1: 111, 2: 13, 3: 101, 4: 113, 5: 111, 6: 110}
AGAIN = """
import socket
s = socket.socket()
for port in (80, 81): print(s.connect_ex(("10.0.0.1", port)))
"""


@pytest.mark.parametrize("reply", REPLIES)
def test_what_a_proxy_refuses(reply: int) -> None:
    """The socket is as after a connect that failed: it can connect again."""
    with asking(reply=reply) as (proxy, asked):
        result = run_in_view([f"net:proxy=socks5://127.0.0.1:{proxy}"], ["python3", "-c", AGAIN])
    assert result.stdout == b"%d\n%d\n" % (REPLIES[reply], REPLIES[reply])
    assert asked == ["10.0.0.1:80", "10.0.0.1:81"]
    assert result.stderr.startswith(b"viewos: net: the proxy socks5://127.0.0.1:")
    assert result.stderr.count(b"\n") == 1


DEAD = {
    b"": b"104",
    b"\5": b"104",
    b"\5\xff": b"13",
    b"\5\0": b"104",
    b"\5\0\5\0\0\1\0": b"104",
    b"HTTP/1.1 200 OK\r\n": b"111",
}


@pytest.mark.parametrize("said", DEAD)
def test_a_proxy_that_dies(said: bytes) -> None:
    with serving(dying(said)) as proxy:
        result = run_in_view([f"net:proxy=socks5://127.0.0.1:{proxy}"], ["python3", "-c", AGAIN])
    assert result.stdout == DEAD[said] * 1 + b"\n" + DEAD[said] + b"\n"
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("status", ["403 no", "407 who", "502 bad", "504 late", "nonsense"])
def test_http_that_refuses(status: str) -> None:
    with serving(dying(f"HTTP/1.1 {status}\r\n\r\n".encode())) as proxy:
        result = run_in_view([f"net:proxy=http://127.0.0.1:{proxy}"], ["python3", "-c", AGAIN])
    number = {"403": b"13", "407": b"13", "504": b"110"}.get(status[:3], b"111")
    assert result.stdout.split() == [number, number]
    assert result.stderr.count(b"\n") == 1


def test_a_proxy_that_is_not_there() -> None:
    port = closed_port()
    program = "import socket; socket.create_connection(('10.0.0.1', 80), 9)"
    for words in (["python3", "-c", program], curl("10.0.0.1", 80)):
        result = run_in_view([f"net:proxy=socks5://127.0.0.1:{port}"], words)
        line, *rest = result.stderr.decode().splitlines()
        assert line == (
            f"viewos: net: the proxy socks5://127.0.0.1:{port}: cannot be reached:"
            " Connection refused"
        )
        assert "refused" in rest[-1] or "Couldn't connect" in rest[-1]


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["curl", "-sS", "http://some.name.test/"],
        ["wget", "-qO-", "http://some.name.test/"],
        ["busybox", "wget", "-qO-", "http://some.name.test/"],
        ["python3", "-c", "import urllib.request as r; "
         "print(r.urlopen('http://some.name.test').read().decode(), end='')"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_name_that_the_proxy_resolves(words: list[str]) -> None:
    with serving() as port, asking(to=port) as (proxy, asked):
        result = run_in_view([f"net:proxy=socks5h://127.0.0.1:{proxy}"], words, user=USER)
    assert (result.stdout, result.stderr) == (BODY, b"")
    assert set(asked) == {"some.name.test:80"}


@as_root
def test_no_question_leaves_the_machine() -> None:
    words = ["sh", "-c", "getent ahosts one.test; dig +time=1 +tries=1 two.test >/dev/null; true"]
    with dns_packets() as seen:
        run_in_view(None, ["dig", "+time=1", "+tries=1", "@127.0.0.1", "three.test"])
        assert any(b"three" in packet for packet in seen)  # the capture works
        seen.clear()
        run_in_view([f"net:proxy=socks5h://127.0.0.1:{closed_port()}"], words)
    assert seen == []


def test_a_name_server() -> None:
    script = """
dig +short @192.0.2.1 some.test; dig +short +tcp @192.0.2.1 some.test AAAA; dig +short SOME.test
dig +short -x 198.18.0.1; dig +short -x fd76:6965:776f:73::1; dig +short MX some.test | wc -c
dig localhost +short; dig -x 198.18.9.9 | grep -o NXDOMAIN; getent hosts other.test
"""
    result = run_in_view([f"net:proxy=socks5h://127.0.0.1:{closed_port()}"], ["sh", "-c", script])
    assert result.stdout.decode().splitlines() == [
        "198.18.0.1", "fd76:6965:776f:73::1", "198.18.0.1", "some.test.", "some.test.", "0",
        "127.0.0.1", "NXDOMAIN", "fd76:6965:776f:73::2 other.test",
    ]  # fmt: skip


def test_addresses_that_nobody_gave() -> None:
    program = """
import socket
for host in ("198.18.7.7", "fd76:6965:776f:73::9"):
    try: socket.create_connection((host, 80))
    except OSError as e: print(e.strerror)
"""
    modules = [f"net:proxy=socks5h://127.0.0.1:{closed_port()}"]
    result = run_in_view(modules, ["python3", "-c", program])
    assert result.stdout == b"No route to host\n" * 2


def test_fixed_names(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 from.file\n")
    with serving() as port:
        modules = ["net:name=from.item=127.0.0.1,name=from.item=[::1],hosts=hosts"]
        for host in ("from.item", "FROM.item", "from.file"):
            result = run_in_view(modules, curl(host, port), cwd=tmp_path)
            assert (result.stdout, result.stderr) == (BODY, b"")
        result = run_in_view(modules, ["cat", "/etc/hosts"], cwd=tmp_path)
        assert result.stdout == b"127.0.0.1 from.file\n"
        words = ["dig", "+short", "+tcp", "from.item", "AAAA"]
        assert run_in_view(modules, words, cwd=tmp_path).stdout == b"::1\n"


def test_daemons_that_resolve_are_not_there() -> None:
    program = """
import socket
for name in ("/var/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve"):
    try: socket.socket(socket.AF_UNIX).connect(name)
    except OSError as e: print(e.strerror)
"""
    modules = ["net:name=a.test=127.0.0.1"]
    result = run_in_view(modules, ["python3", "-c", program])
    assert result.stdout == b"No such file or directory\n" * 2


# ---- wrong words --------------------------------------------------------------------------------

WRONG = {
    "net:proxy=127.0.0.1:1080": "item 1: expected direct, or socks5, socks5h, ",
    "net:proxy=https://a:1": "item 1: expected direct, or ",
    "net:proxy=socks5://a": "item 1: socks5:// needs a HOST:PORT behind it",
    "net:proxy=socks5://a:0": "item 1: 0 is no port",
    "net:proxy@any/udp=socks5://a:1": "item 1: proxies know TCP only",
    "net:proxy@nowhere=direct": "item 1: nowhere is no address",
    "net:proxy-auth=me:secret": "item 1: expected proxy-auth=env:VARIABLE, file:PATH or fd:NUMBER",
    "net:proxy-auth=env:NOT_THERE": "item 1: the environment has no NOT_THERE",
    "net:proxy-auth=file:/no/where": "item 1: /no/where: No such file or directory",
    "net:proxy-auth=file:/dev/null": "item 1: file:/dev/null does not hold USER:PASSWORD",
    "net:proxy-timeout=soon": "item 1: expected proxy-timeout=SECONDS",
    "net:name=a.test": "item 1: expected name=NAME=ADDRESS",
    "net:name=a.test=1.2.3.4:5": "item 1: a name has no port",
    "net:hosts=": "item 1: expected hosts=FILE",
    "net:fake=any": "item 1: expected fake=NETWORK/BITS",
    "net:proxy@any=socks5://a:1,proxy=socks5://a:1": "'proxy=socks5://a:1' never counts",
}


@pytest.mark.parametrize("spec", WRONG)
def test_wrong_words(spec: str) -> None:
    status, line = said(viewos("run", "-m", spec, "--", "true"))
    assert status == 2 and WRONG[spec] in line and "(for example: -m net:" in line


def test_a_password_in_the_command_is_refused_and_not_told() -> None:
    for spec in ("proxy=socks5://me:secret@a:1", "proxy@any=http://b:1+http://me:secret@a:1"):
        status, line = said(viewos("run", "-m", f"net:{spec}", "--", "true"))
        assert status == 2 and "proxy-auth=env:VARIABLE" in line and "secret" not in line


def test_a_proxy_whose_name_nobody_knows() -> None:
    spec = "net:proxy=socks5://no-such-host.invalid:1"
    status, line = said(viewos("run", "-m", spec, "--", "true", timeout=50))
    assert status == 125
    assert line.startswith("module net: ") and "socks5://no-such-host.invalid:1" in line
