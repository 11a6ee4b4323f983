"""Who may do what: the call is done with the rights of the program that makes it."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import Case, Table

CREDENTIALS = r"""
as() { u=$1; shift; setpriv --reuid=$u --regid=$u --clear-groups "$@"; }
chmod 755 .; mkdir -m 1777 sticky; as 65534 sh -c 'echo x >sticky/n; chmod 666 sticky/n'; as 1 sh -c 'rm sticky/n; mv sticky/n sticky/m; echo y >>sticky/n; echo $?'; as 65534 rm sticky/n; ls sticky
cat /proc/sys/fs/protected_regular /proc/sys/fs/protected_hardlinks /proc/sys/fs/protected_symlinks
as 65534 sh -c 'echo x >sticky/f; chmod 666 sticky/f; ln -s /mnt/own sticky/l'; echo own >own; chmod 644 own; as 1 sh -c 'cat sticky/l; echo z >sticky/f; ln sticky/f sticky/h; ln own sticky/o'; ls sticky
mkdir -m 2775 team; chgrp 7 team; setpriv --reuid=1 --regid=1 --groups=7 sh -c 'touch team/a; mkdir team/d; umask 002; touch team/b; chgrp 1 team/b; chgrp 8 team/b'; stat -c '%a %u %g %n' team/*
mkdir acl; setfacl -m u:1:rwx,u:65534:r-x,d:u:1:rw acl; as 1 sh -c 'echo a >acl/f; cat acl/f; umask 077; echo >acl/g'; as 65534 sh -c 'cat acl/f; echo b >>acl/f; echo >acl/h; ls acl'; getfacl -n acl acl/f acl/g; as 65534 setfacl -m u:2:r acl/f; chmod 600 acl/f; as 1 cat acl/f; getfacl -cn acl/f
cp /bin/cat catcap; setcap cap_dac_read_search+ep catcap; echo secret >secret; chmod 600 secret; as 65534 ./catcap secret; as 65534 cat secret; getcap catcap; cp catcap copied; getcap copied; chown 1 catcap; getcap catcap
capsh --drop=cap_dac_override,cap_dac_read_search --shell=/bin/sh -- -c 'chmod 600 own; chown 1 own; cat own; echo x >>own; chmod 644 own; chown 0 own; cat own'
capsh --user=nobody --keep=1 -- -c 'id -u; cat secret' 2>/dev/null; setpriv --reuid=65534 --inh-caps=+dac_read_search --ambient-caps=+dac_read_search sh -c 'cat secret; echo >>secret'
setpriv --reuid=1 --regid=1 --groups=20,7 sh -c 'id -G; chgrp 20 team/a; stat -c %g team/a'; mkdir -m 711 dark; echo in >dark/f; as 65534 sh -c 'ls dark; cat dark/f; cd dark; pwd; ls; cat f; cat ../dark/f'
mkdir -m 700 priv; mkdir priv/open; chmod 777 priv/open; (cd priv/open; as 65534 sh -c 'pwd; touch x; ls; cat ../open/x; cd ..; cat /mnt/priv/open/x')
python3 -IS - <<'E'
import ctypes, os, threading
libc = ctypes.CDLL(None, use_errno=True)
def raw(n, *a): return libc.syscall(n, *a)
def other():
    raw(119, -1, 1, -1); raw(117, -1, 1, -1)  # this thread alone: setresgid, setresuid
    try: open("secret")
    except OSError as e: print("thread", e)
    os.mkdir("sticky/t"); print(os.stat("sticky/t").st_uid, os.stat("sticky/t").st_gid)
t = threading.Thread(target=other); t.start(); t.join(); print(open("secret").read())
libc.setfsuid(1); libc.setfsgid(1); os.mkdir("sticky/fs"); s = os.stat("sticky/fs"); print(s.st_uid, s.st_gid)
try: open("secret")
except OSError as e: print(e)
libc.setfsuid(0); print(open("secret").read())
pid = os.fork()
if not pid:
    os.setgroups([7]); os.setresgid(1, 1, 1); os.setresuid(1, 1, 0)
    print(os.access("team", os.W_OK)); open("team/new", "w"); os.seteuid(0); open("root", "w"); os._exit(0)
print(os.waitpid(pid, 0)[1], os.stat("team/new").st_uid, os.stat("root").st_uid, os.stat("root").st_gid)
E
cat >keeper <<'E'
import ctypes, os, time
libc = ctypes.CDLL(None); r, w = os.pipe()
pid = os.fork()
if not pid: libc.prctl(4, 0); open("/mnt/sticky/agent", "w"); os.write(w, b"r"); time.sleep(60)
os.read(r, 1)
for name in ("environ", "mem", "maps", "fd/0", "cwd/."):
    try: os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY)); print(name, "is open")
    except OSError as e: print(name, e.strerror)
print(libc.ptrace(16, pid, 0, 0)); os.kill(pid, 9); print(os.waitpid(pid, 0)[1])
E
as 65534 python3 -IS keeper
"""

TABLE: Table = {
    "sticky, set-group-ID, ACLs, capabilities, fsuid": Case(CREDENTIALS, users=(0,)),
}
