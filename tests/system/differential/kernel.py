"""System calls that few tools make, by small programs, and what the kernel does with files."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import Case, Table

UNIX = r"""
import os, socket, stat, struct
def t(f, *a):
    try: return f(*a)
    except OSError as e: return f"{type(e).__name__} {e.errno}"
S = socket.socket
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    s = S(socket.AF_UNIX, kind); s.bind("sock"); s.listen()
    print(oct(os.stat("sock").st_mode), s.getsockname())
    c = S(socket.AF_UNIX, kind); c.connect("/mnt/sock"); a, peer = s.accept()
    print(repr(peer), c.getpeername(), a.getsockname(), a.getpeername())
    c.send(b"hello"); print(a.recv(9))
    p, u, g = struct.unpack("3i", a.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    print(p == os.getpid(), u == os.getuid())
    a.close(); print(c.recv(1)); s.close(); c.close(); c = S(socket.AF_UNIX, kind)
    print(t(c.connect, "sock")); os.unlink("sock"); print(t(c.connect, "sock"))
    c = S(socket.AF_UNIX, kind); print(t(c.bind, "missing/x"), t(c.bind, "/mnt"))
    open("file", "w").close()
    print(t(c.connect, "file"), t(c.bind, "file"), t(c.connect, "/mnt"))
d = S(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind("/mnt/dgram")
e = S(socket.AF_UNIX, socket.SOCK_DGRAM); e.bind("from")
print(e.sendto(b"x", "dgram"), d.recvfrom(9)); e.connect("dgram"); e.send(b"y")
print(d.recvfrom(9), e.getpeername())
print(t(d.sendto, b"z", "gone"), d.sendto(b"back", "from"), e.recv(9)); d.close()
print(t(e.send, b"n"), t(e.sendto, b"n", "/mnt/dgram"))
n = S(socket.AF_UNIX, socket.SOCK_STREAM); n.bind("\0viewos" + str(os.getpid())); n.listen()
m = S(socket.AF_UNIX, socket.SOCK_STREAM); m.connect(n.getsockname())
print(n.accept()[1], m.getpeername() == n.getsockname(), n.getsockname()[:7])
for length in (60, 85, 90, 108):
    k = S(socket.AF_UNIX, socket.SOCK_STREAM); name = "/mnt/" + "n" * (length - 5)
    print(length, t(k.bind, name))
    if os.path.exists(name): k.listen(); q = S(socket.AF_UNIX, socket.SOCK_STREAM); q.connect(name); print(len(q.getpeername()), len(k.getsockname())); os.unlink(name)
try: S(socket.AF_UNIX, socket.SOCK_STREAM).bind("x" * 109)
except OSError as x: print(x)
os.mkdir("d"); os.chdir("d"); r = S(socket.AF_UNIX, socket.SOCK_STREAM); r.bind("../rel")
r.listen(); print(r.getsockname()); os.chdir("/"); z = S(socket.AF_UNIX, socket.SOCK_STREAM)
z.connect("mnt/rel"); print(z.getpeername()); os.chdir("/mnt"); os.symlink("rel", "lnk")
y = S(socket.AF_UNIX, socket.SOCK_STREAM); y.connect("lnk"); print(y.getpeername())
os.rename("rel", "moved"); z = S(socket.AF_UNIX, socket.SOCK_STREAM); z.connect("moved")
print(z.getpeername()); os.chmod("moved", 0); z = S(socket.AF_UNIX, socket.SOCK_STREAM)
print(t(z.connect, "moved")); os.umask(0o77); w = S(socket.AF_UNIX, socket.SOCK_STREAM)
w.bind("masked"); print(oct(os.stat("masked").st_mode))
w2 = S(socket.AF_UNIX, socket.SOCK_STREAM)
print(t(w2.bind, "masked"), t(w2.bind, "lnk"), repr(w2.getsockname()), w2.bind(""), w2.getsockname()[:1])
a, b = socket.socketpair(); f = os.open("file", os.O_RDWR); os.write(f, b"passed")
socket.send_fds(a, [b"."], [f, os.open("/mnt", 0)]); _, fds, _, _ = socket.recv_fds(b, 1, 2)
print(os.pread(fds[0], 9, 0), os.readlink(f"/proc/self/fd/{fds[1]}")); os.fchdir(fds[1])
print(os.getcwd()); i = S(socket.AF_INET, socket.SOCK_STREAM); i.bind(("127.0.0.1", 0))
i.listen(); j = socket.create_connection(i.getsockname()); k, _ = i.accept(); j.sendall(b"inet")
print(k.recv(9))
"""

LONG_NAMES = r"""
import os, socket
def t(f, *a):
    try: return f(*a)
    except OSError as e: return f"{type(e).__name__} {e.errno}"
S = socket.socket
for length in (97, 100, 102, 103, 104, 107):
    k = S(socket.AF_UNIX, socket.SOCK_STREAM); name = "/mnt/" + "n" * (length - 5)
    print(length, t(k.bind, name))
    if os.path.exists(name): k.listen(); q = S(socket.AF_UNIX, socket.SOCK_STREAM); q.connect(name); print(len(q.getpeername()), len(k.getsockname())); os.unlink(name)
"""

PYTHON = "python3 -IS - <<'E'\n{}\nE\nls; echo $?"

LOCKS = """
import fcntl, os, struct
f = open("l", "w+"); fcntl.flock(f, fcntl.LOCK_EX)
def child(code):
    pid = os.fork()
    if pid == 0:
        try: code(); os._exit(0)
        except OSError as e: os._exit(e.errno)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(child(lambda: fcntl.flock(open("l"), fcntl.LOCK_EX | fcntl.LOCK_NB)), child(lambda: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)))
fcntl.flock(f, fcntl.LOCK_UN)
print(child(lambda: fcntl.flock(open("l"), fcntl.LOCK_EX | fcntl.LOCK_NB)))
fcntl.lockf(f, fcntl.LOCK_EX, 10, 5)
print(child(lambda: fcntl.lockf(open("/mnt/l", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 14)), child(lambda: fcntl.lockf(open("l", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 15)))
open("l").close()
print(child(lambda: fcntl.lockf(open("l", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)))
ofd = lambda fd, kind: fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))
a, b = open("l", "r+"), open("l", "r+"); ofd(a, fcntl.F_WRLCK)
try: ofd(b, fcntl.F_WRLCK)
except OSError as e: print(e)
a.close(); ofd(b, fcntl.F_WRLCK); b.close(); c = open("l", "r+")
try: fcntl.fcntl(c, fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError as e: print("lease", e)
f.close(); fcntl.fcntl(c, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print(fcntl.fcntl(c, fcntl.F_GETLEASE)); fcntl.fcntl(c, fcntl.F_SETLEASE, fcntl.F_UNLCK)
r, w = os.pipe(); pid = os.fork()
if pid == 0: h = open("l", "r+"); fcntl.lockf(h, fcntl.LOCK_EX); os.write(w, b"x"); os.read(r, 0); os.execvp("true", ["true"])
os.read(r, 1); h = open("l", "r+"); fcntl.lockf(h, fcntl.LOCK_EX)
print("got it", os.waitpid(pid, 0)[1])
"""

INOTIFY = r"""
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True); fd = libc.inotify_init1(os.O_NONBLOCK)
def add(path, mask=0xfff): return libc.inotify_add_watch(fd, path, mask), ctypes.get_errno() if not os.path.exists(path) else 0
os.mkdir("d"); open("f", "w").close(); os.symlink("f", "l")
print(add(b"d"), add(b"/mnt/f"), add(b"l"), add(b"missing"), add(b"d", 0x1000fff), add(b"l", 0x2000fff), add(b"f", 0x1000fff))
def events():
    try: data = os.read(fd, 65536)
    except BlockingIOError: return []
    found = []
    while data: wd, mask, cookie, n = struct.unpack("iIII", data[:16]); found.append((wd, hex(mask), bool(cookie), data[16:16 + n].rstrip(b"\0"))); data = data[16 + n:]
    return found
open("d/x", "w").write("1"); print(events()); os.rename("d/x", "d/y"); print(events())
os.chmod("d/y", 0o600); print(events()); open("d/y").read(); print(events()); os.listdir("d")
print(events()); os.link("d/y", "d/z"); print(events()); os.truncate("d/y", 0); print(events())
os.symlink("q", "d/s"); os.mkdir("d/e"); print(events()); os.unlink("d/y"); os.rmdir("d/e")
print(events()); os.utime("f", (1, 1)); print(events()); os.stat("f"); os.access("f", 4)
print(events()); os.rename("d/z", "zz"); print(events()); os.unlink("f"); print(events())
os.setxattr("d", "user.a", b"1"); print(events()); os.system("cat zz; echo x >d/n; rm d/n")
print(events()); os.readlink("d/s"); os.statvfs("d"); print(events()); import shutil
shutil.rmtree("d"); print(events())
"""

COPIES = r"""
import ctypes, errno, fcntl, os, socket
src = os.open("src", os.O_RDWR | os.O_CREAT, 0o644); os.write(src, bytes(range(256)) * 400)
dst = os.open("dst", os.O_RDWR | os.O_CREAT, 0o600)
print(os.copy_file_range(src, dst, 5000, 100, 0), os.sendfile(dst, src, 5000, 3000), os.fstat(dst).st_size)
r, w = os.pipe()
print(os.splice(src, w, 500, offset_src=7), os.splice(r, dst, 500, offset_dst=0), os.pread(dst, 3, 0))
a, b = socket.socketpair(); print(os.sendfile(a.fileno(), src, 0, 1000), len(b.recv(2000)))
os.posix_fallocate(dst, 0, 20000); libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
print(libc.fallocate(dst, 3, 4096, 4096), os.fstat(dst).st_size); os.ftruncate(dst, 9000)
try: fcntl.ioctl(dst, 0x40049409, src)
except OSError as e: print(errno.errorcode[e.errno])
print(os.lseek(dst, 0, os.SEEK_HOLE), os.pwritev(dst, [b"ab", b"cd"], 10), os.preadv(dst, [bytearray(4)], 10))
t = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640); os.write(t, b"no name")
print(os.fstat(t).st_nlink, oct(os.fstat(t).st_mode))
os.link(f"/proc/self/fd/{t}", "named", follow_symlinks=True, src_dir_fd=0)
print(os.fstat(t).st_nlink, open("named").read())
t2 = os.open("/mnt", os.O_TMPFILE | os.O_WRONLY | os.O_EXCL, 0o600)
try: os.link(f"/proc/self/fd/{t2}", "never", follow_symlinks=True, src_dir_fd=0)
except OSError as e: print(errno.errorcode[e.errno])
try: os.open("src", os.O_TMPFILE | os.O_RDWR)
except OSError as e: print(errno.errorcode[e.errno])
m = os.memfd_create("m"); os.write(m, b"#!/bin/sh\necho memfd\n")
print(os.readlink(f"/proc/self/fd/{m}")); os.set_inheritable(m, True)
os.system(f"sh /proc/self/fd/{m}"); e = os.memfd_create("e")
os.sendfile(e, os.open("/bin/true", 0), 0, 1 << 20); pid = os.fork()
if pid == 0: os.execve(e, ["t"], {})
print(os.waitpid(pid, 0)[1]); p = os.open("src", os.O_PATH)
print(os.fstat(p).st_size, os.readlink(f"/proc/self/fd/{p}"))
q = os.open(f"/proc/self/fd/{p}", os.O_RDONLY); print(len(os.read(q, 10))); os.unlink("src")
print(os.readlink(f"/proc/self/fd/{p}"), os.fstat(p).st_nlink, len(os.read(os.open(f"/proc/self/fd/{p}", 0), 5)))
d = os.open("/mnt", os.O_PATH | os.O_DIRECTORY); print(os.stat("dst", dir_fd=d).st_size)
s = os.open("dst", os.O_PATH | os.O_NOFOLLOW, dir_fd=d); print(os.stat(s).st_size); os.sync()
os.fsync(dst); os.fdatasync(dst); os.posix_fadvise(dst, 0, 0, 4)
"""

NAMES = (
    "libcalls",
    "openat2",
    "statx",
    "execveat",
    "execfd",
    "renameat2",
    "linkat",
    "raw",
    "handles",
    "detached",
    "getdents",
    "errors",
    "magic",
    "shortage",
    "senders",
    "deep",
)

TABLE: Table = {
    "unix sockets": PYTHON.format(UNIX),
    "long names of unix sockets": Case(
        PYTHON.format(LONG_NAMES),
        gaps={"mnt": "a last component over 90 bytes behind a longer backing: EINVAL"},
    ),
    "locks": PYTHON.format(LOCKS),
    "inotify": PYTHON.format(INOTIFY),
    "copies by the kernel": PYTHON.format(COPIES),
    "FIFOs": PYTHON.format(r"""
import os, select, threading, errno, signal
os.mkfifo("f", 0o640)
def t(flags):
    try: return os.close(os.open("f", flags))
    except OSError as e: return errno.errorcode[e.errno]
print(t(os.O_WRONLY | os.O_NONBLOCK), t(os.O_RDONLY | os.O_NONBLOCK)); pid = os.fork()
if pid == 0: w = os.open("f", os.O_WRONLY); os.write(w, b"one"); os.close(w); os._exit(0)
r = os.open("/mnt/f", os.O_RDONLY); print(os.read(r, 9), os.read(r, 9)); os.waitpid(pid, 0)
os.close(r)
threads = [threading.Thread(target=lambda: open("f", "w").write("x\n")) for _ in range(4)]
[x.start() for x in threads]; n = 0
r = os.open("f", os.O_RDONLY)
while n < 8: n += len(os.read(r, 9))
os.close(r)
print(n); [x.join() for x in threads]; rw = os.open("f", os.O_RDWR); os.write(rw, b"both")
print(os.read(rw, 9)); p = select.poll(); p.register(rw, select.POLLIN); print(p.poll(0))
os.close(rw)
def handler(*_): raise TimeoutError
signal.signal(signal.SIGALRM, handler)
try: signal.setitimer(signal.ITIMER_REAL, 0.1); open("f")
except TimeoutError: print("interrupted")
pid = os.fork()
if pid == 0: open("f"); os._exit(0)
os.kill(pid, 9); print(os.waitpid(pid, 0)[1]); os.rename("f", "g")
g = os.open("g", os.O_RDONLY | os.O_NONBLOCK); os.unlink("g"); print(os.fstat(g).st_nlink)
"""),
    "directories that change": PYTHON.format("""
import os
for n in range(700): open(f"file{n:04}", "w").close()
print(len(os.listdir("."))); d = os.open(".", 0); it = os.scandir(d); seen = 0
for e in it:
    os.unlink(e.name); seen += 1
it.close(); print(seen, os.listdir(d)); os.mkdir("x"); x = os.open("x", 0); os.rmdir("x")
print(os.listdir(x), os.readlink(f"/proc/self/fd/{x}"))
try: os.open("y", os.O_CREAT, dir_fd=x)
except OSError as e: print(e)
try: os.mkdir("y", dir_fd=x)
except OSError as e: print(e)
os.mkdir("x"); print(os.listdir(x)); os.fchdir(x)
try: print(os.getcwd())
except OSError as e: print(e)
try: os.stat("..")
except OSError as e: print(e)
os.stat("."); os.chdir("/mnt"); os.rename("x", "z"); os.chdir("z"); os.rename("../z", "../zz")
print(os.getcwd()); os.mkdir("../w"); os.rename("/mnt/zz", "/mnt/w/v")
print(os.getcwd(), os.listdir(".."), os.stat("..").st_nlink); open("in", "w").close()
print(os.listdir("/mnt/w/v"))
"""),
    **{f"raw {name}": f"$BIN/{name}; echo $?" for name in NAMES},
    "raw linkat of what the parent has opened": "echo text >g; exec 9<g; $BIN/linkat; echo $?",
    "chdirs": "$BIN/chdirs; echo $?; rm -r nnn*",
    "from a removed directory": r"""
        mkdir d e d/d; ln -s /mnt/e/run absolute; ln -s e/run relative; ln -s /mnt/e elink
        printf '#!/bin/echo ran\n' >e/run; chmod 755 e/run; cp /bin/echo e; cd d || exit; rmdir ../d/d ../d
        ../e/echo one; ../e/run; ../absolute; ../relative x; ../elink/echo two; ./../e/run; ../none
        cat ../absolute ../elink/run; readlink ../absolute; stat -c %n ../elink ../elink/run; ls .. ../elink
        echo text >../new; cat ../new; mv ../new ../elink/moved; rm ../e/moved; mkdir ../f; rmdir ../f
        cat x ../; echo $?; ls . ./x; (cd ..; pwd; ls); (cd ../elink; pwd -P); ln -s x ../y; pwd; ls ../../bin/true
        cd ..; mkdir -p g/h/i; cd g/h/i || exit; rm -r ../../../g; ../e/run; ../../e/run; ../../../e/run; ls ../../.. ../..
        cd ../../..; mkdir g; cd g || exit; rmdir ../g; chmod 0 .; ../e/run; ls ..; cat ../e/run; chmod 755 .; ls ..
        python3 -IS -c 'import os; f = os.open("..", 0); print(os.readlink(f"/proc/self/fd/{f}")); os.mkdir("../k"); k = os.open("../k", 0); os.rmdir("../k"); print(sorted(os.listdir(os.open("../e", 0, dir_fd=k)))); print(os.stat("../elink/run", dir_fd=k).st_size)'
    """,
    "permits": Case("cp $BIN/permits self && ./self; echo $?; chmod 755 d", users=(0,)),
    "execs": "cp $BIN/execs self && ./self all; echo $?",
    "device files": """echo x >/dev/null; head -c 3 /dev/zero | od -c; head -c 4 /dev/urandom | wc -c; echo x >/dev/full
echo $?; ls -l /dev/null | cut -c1-10; stat -c '%F %t %T' /dev/null /dev/zero /dev/tty
cat /dev/tty; echo $?; exec 3<>/dev/null; echo y >&3; ls -d /dev/fd /dev/stdin /dev/pts
cp /dev/null n; echo n | cat /dev/stdin; cat <<E | tee /dev/stderr /dev/stdout
here
E
ls /dev/shm | wc -l >/dev/null
python3 -IS -c 'import os; m, s = os.openpty(); print(os.ttyname(s)[:9], os.isatty(s)); os.write(s, b"x"); print(os.read(m, 1)); n = os.open(os.ttyname(s), os.O_RDWR | os.O_NOCTTY); os.write(n, b"y"); print(os.read(m, 1))'
test -c /dev/null -a -w /dev/null; echo $?; touch /dev/null
dd if=/dev/zero of=/dev/null count=1 status=none; ln -s /dev/null l; echo x >l; cat l
cat /dev/mem 2>&1 | wc -l; echo x >/dev/nonono; echo $?""",
    "executables being written": r"""
        cp /bin/true t; exec 3>>t; ./t; echo $?; exec 3>&-; ./t; echo $?; cp /bin/sleep s
        ./s 60 & p=$!; until [ "$(readlink /proc/$p/exe)" = /mnt/s ]; do :; done; echo x >>s
        echo $?; cp /bin/true s; echo $?; rm s; readlink /proc/$p/exe; { kill $p; wait $p; echo $?; } 2>/dev/null
        i=0; while [ $i -lt 30 ]
        do printf '#!/bin/sh\necho '$i'\n' >x; chmod 755 x; ./x; rm x; i=$((i+1)); done | md5sum
        i=0; while [ $i -lt 30 ]; do cp /bin/echo e; ./e $i; rm e; i=$((i+1)); done | md5sum
        cp --remove-destination /bin/false t; ./t; echo $?; mv t u; install -m 755 /bin/true u
        ./u; echo $?
    """,
}
