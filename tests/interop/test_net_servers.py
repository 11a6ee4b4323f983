"""Real servers and their clients in a private network print what they print natively."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.system.net.servers import closed_port
from tests.system.view import place, run_in_view

pytestmark = pytest.mark.timeout(120)
WORDS = ("WEB", "ANY", "SSH", "IPERF", "DNS", "REDIS", "SQL")

NGINX = """
daemon off; pid @DIR@/nginx.pid; error_log @DIR@/errors; worker_processes 2; events {}
http {
  access_log off; client_body_temp_path @DIR@/t1; proxy_temp_path @DIR@/t2;
  fastcgi_temp_path @DIR@/t3; uwsgi_temp_path @DIR@/t4; scgi_temp_path @DIR@/t5;
  server {
    listen 127.0.0.1:@WEB@; listen [::1]:@WEB@; listen @ANY@; listen [::]:@ANY@; root @DIR@/www;
  }
}
"""
SSHD = """
Port @SSH@
ListenAddress 127.0.0.1
ListenAddress ::1
HostKey @DIR@/host
AuthorizedKeysFile @DIR@/id.pub
StrictModes no
UsePAM no
PidFile none
"""
PREPARE = """
mkdir www; echo page > www/index.html; ssh-keygen -q -t ed25519 -N '' -f host
ssh-keygen -q -t ed25519 -N '' -f id; git init -q --bare www/r.git; git init -q w; cd w
echo content > f; git add f; git -c user.name=a -c user.email=a@b commit -qm x
git push -q ../www/r.git HEAD:master; git -C ../www/r.git update-server-info; cd ..
mkdir sql; chown 65534 sql
setpriv --reuid=65534 --regid=65534 --clear-groups $(ls -d /usr/lib/postgresql/*/bin)/initdb \\
    -D sql/data -U me --auth=trust --no-sync --no-instructions >/dev/null
"""
RUN = """
nginx -c $PWD/nginx.conf 2>/dev/null & servers=$!
$(command -v sshd || echo /usr/sbin/sshd) -D -f sshd_config & servers="$servers $!"
iperf3 -s -p @IPERF@ -B 127.0.0.1 -1 >/dev/null & measures=$!
dnsmasq -k -p @DNS@ --no-resolv --no-hosts --address=/x.test/10.9.8.7 --listen-address=127.0.0.1 \\
    --bind-interfaces --pid-file= & servers="$servers $!"
setpriv --reuid=65534 --regid=65534 --clear-groups $(ls -d /usr/lib/postgresql/*/bin)/postgres \\
    -D sql/data -p @SQL@ -k "" -c listen_addresses=127.0.0.1,::1 >sql.log 2>&1 &
servers="$servers $!"
redis-server --port @REDIS@ --save "" --dir $PWD >/dev/null 2>&1 & servers="$servers $!"
for port in @WEB@ @SSH@ @DNS@ @REDIS@ @SQL@; do
    until bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null; do
        sleep 0.1
    done
done
for u in 127.0.0.1:@WEB@ '[::1]:@WEB@' 127.0.0.1:@ANY@ '[::1]:@ANY@' localhost:@ANY@; do
    curl -gsS http://$u/
done
for host in 127.0.0.1 ::1; do
    ssh -q -i id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p @SSH@ root@$host \\
        'set -- $SSH_CONNECTION; echo ssh $1 $3 $4'
done
git clone -q http://127.0.0.1:@WEB@/r.git c && cat c/f; rm -rf c
dig +short -p @DNS@ @127.0.0.1 a.x.test; dig +short +tcp -p @DNS@ @127.0.0.1 a.x.test
redis-cli -p @REDIS@ ping; redis-cli -p @REDIS@ set key value; redis-cli -p @REDIS@ get key
until psql -h 127.0.0.1 -p @SQL@ -U me postgres -tAc 'select 6 * 7' 2>/dev/null; do sleep 0.1; done
psql -h ::1 -p @SQL@ -U me postgres -tAc 'select inet_server_port() = @SQL@'
/usr/bin/python3 -c 'import requests; print(requests.get("http://localhost:@WEB@/").text.strip())'
iperf3 -c 127.0.0.1 -p @IPERF@ -n 1M >/dev/null && wait $measures && echo measured
kill $servers 2>/dev/null; wait 2>/dev/null; true
"""


@pytest.mark.skipif(os.getuid() != 0, reason="sshd wants root")
def test_servers_and_their_clients() -> None:
    Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd separates privileges there
    with place("native", 0) as here:  # which the workers of nginx, another user, can enter
        names = {word: str(closed_port()) for word in WORDS} | {"DIR": str(here.real)}
        (here.real / "nginx.conf").write_text(_filled(NGINX, names))
        (here.real / "sshd_config").write_text(_filled(SSHD, names))
        env = {"HOME": str(here.real)}
        whole = {**os.environ, **env}
        subprocess.run(["sh", "-ec", PREPARE], cwd=here.real, env=whole, check=True)
        words = ["sh", "-c", _filled(RUN, names)]
        native = run_in_view(None, words, cwd=here.real, env=env)
        ssh = names["SSH"]
        assert native.stdout.decode().splitlines() == [
            *["page"] * 5, f"ssh 127.0.0.1 127.0.0.1 {ssh}", f"ssh ::1 ::1 {ssh}", "content",
            "10.9.8.7", "10.9.8.7", "PONG", "OK", "value", "42", "t", "page", "measured",
        ]  # fmt: skip
        for rules in ("ports=private", "none"):
            seen = run_in_view([f"net:{rules}"], words, cwd=here.real, env=env)
            assert (seen.stdout, seen.stderr) == (native.stdout, native.stderr)


def _filled(text: str, names: dict[str, str]) -> str:
    for word, value in names.items():
        text = text.replace(f"@{word}@", value)
    return text
