"""The programs: what each is asked to do, and what it says when that worked."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

NET = Path(__file__).resolve().parents[2] / "system/net"
NAME = "peer.test"
"""A name that only the proxy resolves."""
BODY = "made by the test"


class Program(NamedTuple):
    """One client. The script runs in a directory with what `build` makes."""

    name: str
    script: str
    says: str = BODY
    build: str = ""


_PYTHON = f"""import urllib.request as u; print(u.urlopen("http://{NAME}/", timeout=15).read())"""
_ASYNC = f"""
import asyncio
async def main():
    r, w = await asyncio.open_connection("{NAME}", 80); w.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(await r.read())
asyncio.run(main())
"""
_NODE = f"require('http').get('http://{NAME}/', r => r.pipe(process.stdout))"
_PERL = f"""
use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "{NAME}:80") or die "no: $!";
print $s "GET / HTTP/1.0\\r\\n\\r\\n"; print <$s>
"""
_GET = r"printf 'GET / HTTP/1.0\r\n\r\n'"
_MUSL = r"""
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int c, char **v) {
    struct addrinfo hint = {.ai_socktype = SOCK_STREAM}, *a;
    if (getaddrinfo(v[1], v[2], &hint, &a)) return puts("no name"), 1;
    int s = socket(a->ai_family, SOCK_STREAM, 0), n;
    if (connect(s, a->ai_addr, a->ai_addrlen)) return perror("connect"), 1;
    char b[4096], *r = "GET / HTTP/1.0\r\n\r\n";
    write(s, r, strlen(r));
    while ((n = read(s, b, sizeof b)) > 0) write(1, b, n);
}
"""
_RAW = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    struct sockaddr_in a = {AF_INET, htons(80)};
    inet_pton(AF_INET, "192.0.2.7", &a.sin_addr);
    long s = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), n;
    if (syscall(SYS_connect, s, &a, sizeof a)) return perror("connect"), 1;
    char b[4096], *r = "GET / HTTP/1.0\r\n\r\n";
    write(s, r, strlen(r));
    while ((n = read(s, b, sizeof b)) > 0) write(1, b, n);
}
"""

CLIENTS = (
    Program("curl", f"curl -sS -m 15 http://{NAME}/"),
    Program("wget", f"wget -qO- -t 1 -T 15 http://{NAME}/"),
    Program("python3 urllib", f"/usr/bin/python3 -c '{_PYTHON}'"),
    Program("python3 asyncio", f"/usr/bin/python3 -c '{_ASYNC}'"),
    Program("node", f'node -e "{_NODE}"'),
    Program("perl", f"perl -e '{_PERL}'"),
    Program("nc", f"{_GET} | nc -w 5 {NAME} 80"),
    Program("socat", f"{_GET} | socat -T 5 - TCP4:{NAME}:80"),
    Program(
        "ssh",
        f"ssh -o ConnectTimeout=10 -o StrictHostKeyChecking=no -p 80 {NAME} 2>&1",
        says="exchange",  # of banners or keys: it reached the server, which does not speak SSH
    ),
    Program("busybox wget (static)", f"busybox wget -qO- http://{NAME}/"),
    Program(
        "a Go program (static)", f"./goclient {NAME}:80",
        build=f"CGO_ENABLED=0 GOCACHE=$PWD/gocache go build -o goclient {NET}/goclient.go",
    ),
    Program(
        "a musl program (static)", f"./musl {NAME} 80",
        build=f"cat > musl.c <<'END'\n{_MUSL}END\nmusl-gcc -static -w -o musl musl.c",
    ),
    Program(
        "raw system calls", "./raw",
        build=f"cat > raw.c <<'END'\n{_RAW}END\ngcc -w -o raw raw.c",
    ),
    Program(
        "a set-user-ID program", f"./suid -sS -m 15 http://{NAME}/",
        build="cp $(command -v curl) suid; chown nobody suid; chmod 4755 suid",
    ),
    Program(
        "dig, which asks a name server",
        f"dig +short +tries=1 +time=3 @192.0.2.53 {NAME} | grep -c '^[0-9]'", says="1",
    ),
)  # fmt: skip

SERVERS = (
    Program(
        "python3 http.server and curl",
        "/usr/bin/python3 -um http.server --bind 127.0.0.1 @PORT@ >/dev/null 2>&1 & s=$!;"
        " curl -sS --retry 40 --retry-connrefused --retry-delay 1 -m 20"
        " http://127.0.0.1:@PORT@/text 2>/dev/null; kill $s",
    ),
    Program(
        "nc, a server and a client",
        "nc -l 127.0.0.1 @PORT@ < text & sleep 1; nc -w 3 127.0.0.1 @PORT@ </dev/null; kill $! ",
    ),
    Program(
        "redis",
        "redis-server --port @PORT@ --bind 127.0.0.1 --save '' --dir $PWD >/dev/null 2>&1 & s=$!;"
        f" sleep 1; redis-cli -p @PORT@ set k '{BODY}' >/dev/null; redis-cli -p @PORT@ get k;"
        " kill $s",
    ),
    Program(
        "busybox httpd and wget (static)",
        "busybox httpd -f -p 127.0.0.1:@PORT@ & s=$!; sleep 1;"
        " busybox wget -qO- http://127.0.0.1:@PORT@/text; kill $s",
    ),
)  # fmt: skip


def build(programs: tuple[Program, ...], directory: Path) -> None:
    """Make what the scripts need. Raises CalledProcessError."""
    (directory / "text").write_text(BODY + "\n")
    for program in programs:
        if program.build:
            subprocess.run(["sh", "-ec", program.build], cwd=directory, check=True, timeout=120)
