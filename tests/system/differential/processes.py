"""Programs that start, limit, watch, and end other programs."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import BASH, TREE, Case, Table

FAMILY = r"""
import ctypes, os, signal, sys, threading
prctl = ctypes.CDLL(None).prctl
prctl(36, 1)  # orphans come to us
r, w = os.pipe()
def hear(): return os.read(r, 1).decode()
def fork(f, *a):
    pid = os.fork()
    if pid: return pid
    try: os._exit(f(*a) or 0)
    except BaseException as e: print(repr(e)); os._exit(99)
def reap(what): pid, s = os.wait(); print(what, os.waitstatus_to_exitcode(s))
def daemon():
    os.setsid(); os.chdir("/"); os.umask(0o27); n = os.open("/mnt/made", os.O_CREAT | os.O_WRONLY, 0o666)
    while os.getppid() != top: os.stat("/mnt/made")
    os.write(w, b"d"); return 5
def parent(f): fork(f); return 1
top = os.getpid()
fork(parent, daemon); reap("parent"); print(hear(), oct(os.stat("made").st_mode)); reap("daemon")
def mourner():
    signal.signal(signal.SIGUSR1, lambda *_: ([os.rmdir(n) for n in os.listdir() if n[0] == "x"], os.mkdir("grief"), os.write(w, b"m"), os._exit(6)))
    prctl(1, signal.SIGUSR1); os.write(w, b"r"); x = 0
    while True: os.mkdir(f"x{x}"); os.rmdir(f"x{x}"); x += 1
def until_ready(f): fork(f); hear(); return 2
fork(until_ready, mourner); reap("parent"); print(hear()); reap("mourner"); print(sorted(os.listdir(".")))
def sleeper(): prctl(1, signal.SIGTERM); os.set_inheritable(w, True); os.execv("/bin/sh", ["sh", "-c", f"cd /mnt; echo e >&{w}; while :; do : <made; done"])
fork(until_ready, sleeper); reap("parent"); reap("executed")
def in_thread(f):
    t = threading.Thread(target=f); t.start(); t.join(); return 7
def go(): os.execv("/mnt/prog", ["name", str(os.getpid())])
open("prog", "w").write("#!/bin/sh\n[ $1 = $$ ] && pwd; ls /proc/self/task | wc -l; exit 4\n"); os.chmod("prog", 0o755)
pid = fork(in_thread, go); reap("executed by a thread")
sys.stdout.flush()
pid = os.posix_spawn("/mnt/prog", ["x", "y"], {}, setpgroup=0, setsigmask=[signal.SIGTERM], setsigdef=[signal.SIGINT], file_actions=[(os.POSIX_SPAWN_OPEN, 1, "spawned", os.O_CREAT | os.O_WRONLY, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)])
reap("spawned"); print(open("spawned").read())
print(os.waitstatus_to_exitcode(os.system("kill -9 $$")), os.system("exit 3") >> 8)
told, tell = os.pipe(); pid = os.fork()
if not pid: os.kill(os.getpid(), signal.SIGSTOP); os.read(told, 1); os.stat("made"); os._exit(8)
print(os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])); os.kill(pid, signal.SIGCONT)
print(os.WIFCONTINUED(os.waitpid(pid, os.WCONTINUED)[1])); os.write(tell, b"t"); x = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT); print(x.si_status, os.waitpid(pid, 0)[1] >> 8)
try: os.wait()
except ChildProcessError: print("none left")
"""

TABLE: Table = {
    "env": """
        env -i A=1 B=2 env; env -u HOME sh -c 'echo ${HOME-unset}'; env -C /tmp pwd
        env -C /mnt/no pwd; echo $?; env no-such; echo $?; env -S 'echo a b'; env --chdir=. pwd
        mkdir d; env -C d sh -c 'pwd; touch x'; ls d; env -C d ./x; echo $?
        env - PATH=/mnt nothing; echo $?; env true; printenv HOME
        env --block-signal=TERM sh -c 'kill -TERM $$; echo blocked'; env -0 -i X=1 | od -c
        env --list-signal-handling true 2>&1 | head -3
    """,
    "nice, nohup, timeout, stdbuf": """
        nice; nice -n 5 nice; nice -n 5 cat missing; echo $?; nice no-such; echo $?
        nohup sh -c 'echo out' </dev/null; echo x | nohup cat >f; cat f; nohup no-such; echo $?
        timeout 5 true; echo $?; timeout 0.1 sleep 60; echo $?; timeout -s KILL 0.1 sleep 60
        echo $?
        timeout -k 5 0.1 sleep 60; echo $?; timeout --preserve-status 0.1 sleep 60; echo $?
        timeout 5 no-such; echo $?; timeout 5 /mnt; echo $?; timeout --foreground 5 sh -c 'exit 3'
        echo $?; stdbuf -oL echo x; stdbuf -o0 cat f; stdbuf -i0 no-such; echo $?
        setsid -w sh -c 'exit 4'; echo $?; setsid sh -c 'echo s >g' ; ionice -c 3 true
        chrt -p 1 >/dev/null; taskset -p $$ | wc -l; taskset 1 sh -c 'echo on one'
        choom -n 0 -- echo choom; prlimit --nofile=10:10 sh -c 'ulimit -n; cat f'
        time -p true 2>&1 | wc -l
    """,
    "flock": """
        flock l echo locked; flock -n l -c 'flock -n l true; echo $?'; exec 9>l; flock -n 9
        echo $?; flock -n l echo no; echo $?; flock -u 9; flock -n l echo yes; flock -s 9
        flock -s -n l echo shared; flock -x -n l echo no; echo $?; exec 9>&-; flock -w 0.1 l true
        echo $?; flock missing/l true; echo $?; mkdir d; flock d echo dir; flock l sh -c 'pwd'
        (flock 8; echo a >>order; ) 8>l & wait; (flock 8; echo b >>order) 8>l; cat order
        flock -E 9 -n l true; echo $?; flock -o l sh -c 'flock -n l true; echo $?'; (flock -x 7
        for i in 1 2 3; do echo $i >>n; done) 7>>l & (flock -x 7; for i in 4 5 6; do echo $i >>n
        done) 7>>l & wait; sort n; rm n
    """,
    "xargs": Case(
        r"""
        seq 100 | xargs -P 4 -n 5 sh -c 'echo "$@" >out.$1' _; cat out.* | sort -n | md5sum
        find tree -type f -print0 | sort -z | xargs -0 cat | md5sum; seq 5 | xargs -I{} echo x{}y
        echo a b | xargs -n 1 no-such; echo $?; echo 1 | xargs false; echo $?
        echo 1 | xargs sh -c 'exit 255'; echo $?; xargs -a missing; xargs -r echo </dev/null
        echo "'a b' c" | xargs -n 1; seq 20000 | xargs echo | wc -l
        ls tree | xargs -d '\n' -n 1 | wc -l; seq 30 | xargs -P 8 -I@ touch t@; ls t* | wc -l
        seq 3 | xargs --process-slot-var=S -P 2 -n1 sh -c 'echo $((S < 2))'
        echo /mnt/tree | xargs ls; seq 4 | xargs -t echo; echo x | xargs -o cat /dev/stdin
    """,
        given=TREE,
    ),
    "a daemon": Case("""
        cat >daemon <<'E'
#!/bin/sh
cd / && umask 077 && echo $$ >/mnt/pid && trap 'echo stopping >>/mnt/log; rm /mnt/pid; echo bye >/mnt/ctl; exit 0' TERM
echo started >>/mnt/log; echo ready >/mnt/ctl
while :; do read command </mnt/ctl; echo "got $command" >>/mnt/log; [ "$command" = quit ] && kill -TERM $$; done
E
        chmod 755 daemon; mkfifo ctl; setsid ./daemon </dev/null >/dev/null 2>&1 & read l <ctl
        echo $l; test -s pid && echo has pid; kill -0 $(cat pid) && echo alive
        readlink /proc/$(cat pid)/cwd; echo quit >ctl; read l <ctl; echo $l; wait; ls; cat log
        stat -c %a log
    """),
    "daemons by start-stop-daemon": Case(r"""
        cat >d <<'E'
#!/usr/bin/python3 -IS
import os, signal, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect("/mnt/ready"); s.send(os.getcwd().encode())
signal.pause()
E
        chmod 755 d; cat >w <<'E'
import socket, subprocess
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("/mnt/ready")
subprocess.run(["start-stop-daemon", "--start", "--background", "--make-pidfile", "--pidfile", "/mnt/pid", "--chdir", "/usr", "--exec", "/mnt/d"], check=True)
print(s.recv(100).decode())
E
        python3 -IS w; test -s pid; echo $?; start-stop-daemon --status --pidfile pid; echo $?
        tr '\0' ' ' </proc/$(cat pid)/cmdline; echo
        start-stop-daemon --stop --pidfile pid --retry TERM/10; echo $?
        start-stop-daemon --status --pidfile pid; echo $?; ls; rm pid
    """),
    "a fork storm": Case("""
        i=0; while [ $i -lt 60 ]; do (echo $i >f$i; cat f$i >g$i; rm f$i) & i=$((i+1)); done; wait
        ls | wc -l; cat g* | sort -n | md5sum; i=0; while [ $i -lt 200 ]; do (:) & i=$((i+1))
        done; wait; f() { [ $1 = 0 ] && { echo x >>leaf.$2; return; }
        f $(($1-1)) $2 & f $(($1-1)) $2 & wait; }; f 5 a; wc -l <leaf.a
    """),
    "threads": Case(r"""
        python3 -IS - <<'E'
import os, threading
def work(n):
    os.mkdir(f"d{n}")
    for i in range(20):
        with open(f"d{n}/{i}", "w") as f: f.write(f"{n} {i}")
        os.rename(f"d{n}/{i}", f"d{n}/r{i}"); assert os.stat(f"d{n}/r{i}").st_size
        assert open(f"d{n}/r{i}").read() == f"{n} {i}"
        if i % 2: os.unlink(f"d{n}/r{i}")
threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(os.listdir(".")), len(os.listdir("d0")))
E
    """),
    "vfork and posix_spawn": Case("""
        python3 -IS - <<'E'
import os, subprocess, signal
for n in range(20):
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"echo spawned {n} >>log; exit {n}"], os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == n
pid = os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, "log", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "copy", os.O_CREAT | os.O_WRONLY, 0o640)])
print(os.waitpid(pid, 0)[1])
print(subprocess.run(["./missing"], executable="/bin/echo", capture_output=True, close_fds=False).stdout)
for argv in (["/no/such"], ["/mnt"], ["log"], [""]):
    try: subprocess.run(argv, close_fds=False)
    except OSError as e: print(argv, e)
    try: os.posix_spawnp(argv[0], argv, os.environ)
    except OSError as e: print(argv, e)
print(subprocess.run(["pwd"], cwd="/usr", capture_output=True).stdout)
try: subprocess.run(["pwd"], cwd="/mnt/none")
except OSError as e: print(e)
print(subprocess.run("sleep 60 & kill $!; wait $!", shell=True, preexec_fn=lambda: os.chdir("/")).returncode)
pids = [os.posix_spawn("/bin/true", ["true"], {}) for _ in range(50)]
print(sum(os.waitpid(p, 0)[1] for p in pids))
E
        cat copy | wc -l; stat -c %a copy
    """),
    "parents, orphans, those who mourn": f"""
        cat >family <<'E'
{FAMILY}
E
        python3 -IS family
    """,
    "kill and wait in bash": Case(
        r"""
        exec 2>/dev/null; sleep 100 & a=$!; kill -9 $a; wait $a; echo $?
        (exit 2) & wait -p which -n; echo $? $((which == $!)); trap 'echo CHLD' CHLD; true & wait
        trap - CHLD; { sleep 100; } & kill -STOP $!; kill -CONT $!; { kill $!; wait $!; } 2>/dev/null
        echo $?
        exec -a renamed bash --norc -c 'echo $0; cat /proc/self/comm; tr "\0" " " </proc/$$/cmdline; set -m; sleep 100 & kill %1; wait %1; echo $?'
    """,
        shell=BASH,
    ),
    "a descriptor above the limit": """
        cat >p <<'E'
import os, resource
os.closerange(3, 99); os.dup2(0, 9); resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
print(os.open("/mnt/made", os.O_CREAT | os.O_WRONLY))
try: os.open("/mnt/unmade", os.O_CREAT | os.O_WRONLY)
except OSError as e: print(e)
os.close(9); os.close(3); print(sorted(os.listdir(".")))
E
        python3 -IS p; ls
    """,
    "limits": Case(
        """
        exec 2>/dev/null; ulimit -f 2; head -c 3000 /dev/zero >f; echo $?
        ls -s --block-size=1 f | wc -l; stat -c %s f; (trap '' XFSZ; head -c 9000 /dev/zero >g
        echo $?); ulimit -n 8; exec 5<f 6<f 7<f; cat f | wc -c; exec 8<f; echo $?; exec 5<&-
        ulimit -c 0; sh -c 'ulimit -S -n 6; ulimit -n; cat f | wc -c; cat f g 2>&1 | wc -c'
        ulimit -a | wc -l; cat /proc/self/limits; truncate -s 5000 h; echo $?; stat -c %s h
        ulimit -v unlimited; echo $?; ulimit -x unlimited 2>/dev/null; cp f copied; echo $?
        dd if=/dev/zero of=big bs=4096 count=2 2>&1 | tail -n 1 | cut -c1-4
        sh -c 'ulimit -n 3; exec cat f'; echo $?
    """,
        shell=BASH,
    ),
    "exec": Case(r"""
        (exec /bin/echo a); (exec no-such); echo $?; (exec ./f); echo $?; (exec 3<missing)
        echo $?; bash -c 'exec -c env'; bash -c 'exec -l sh -c "echo \$0"'; cp /bin/echo e
        ./e copied; ln -s e l; ./l; (exec ./e x); chmod 000 e; ./e; echo $?
        sh -c 'exec cat' <<E; perl -e 'exec {"/bin/sh"} "name", "-c", "echo \$0"'; python3 -IS -c 'import os; os.execv("/bin/sh", ["", "-c", "echo [$0]"])'; python3 -IS -c 'import os; os.execve("/bin/sh", ["s", "-c", "export -p"], {})'; python3 -IS -c 'import os; os.execv(os.open("/bin/echo", os.O_RDONLY), ["x", "by descriptor"])'; cp /bin/true big; (exec 4>>big; ./big); echo $?; setarch -R sh -c 'echo personality'
from here
E
        ls -l /proc/self/exe | sed 's/.*-> //'; cp /bin/readlink rl; ./rl /proc/self/exe
        ./rl /proc/self/cwd; cd /; mnt/rl /proc/self/exe; mnt/rl /proc/self/root
        head -c 4 /proc/self/exe | od -c
    """),
    "programs that are not there": Case(
        TREE
        + r"""
        mkdir closed; cp /bin/true closed/t; mkdir other; ln -s nowhere/x lost; ln -s loop loop; ln -s /mnt/tree/none far
        chmod 0 closed; python3 -IS - <<'E'
import os, threading
def tried(path):
    try: os.execv(path, ["x"])
    except OSError as error: return error.strerror
def all_of():
    for path in ("none", "/mnt/none", "tree/none", "tree/none/x", "tree/one/x", "tree/one", "tree", "tree/", "none/", "tree/one/",
                 "lost", "loop", "loop/x", "far", "tree/dangling", "tree/dirlink/none", "/mnt/tree/dirlink/../none", "tree/../none",
                 "closed/none", "closed/t" if os.getuid() else "", "", "x" * 300, "y/" * 2200, "/nonexistent/a", "/etc/none", "/proc/self/none", "/proc/1/none",
                 "/proc/self/cwd/none", "/proc/self/fd/99", "/dev/none", "other/none"):
        print(path[:30], tried(path), flush=True)
all_of()
try: os.execvpe("none", ["none"], {"PATH": "/usr/sbin:/mnt/tree:/mnt/closed:/mnt"})
except OSError as error: print(error.strerror)
for path in "/nowhere:/mnt/tree:/bin", "/nowhere:/mnt/none":
    os.environ["PATH"] = path
    try: print(os.waitpid(os.posix_spawnp("true", ["true"], {}), 0)[1])
    except OSError as error: print(error.strerror)
os.mkdir("late"); print(tried("late/prog")); os.symlink("/bin/echo", "late/prog")
if os.fork():
    print(os.wait()[1], flush=True); thread = threading.Thread(target=all_of); thread.start(); thread.join()
else: os.execv("late/prog", ["echo", "found"])
E
        chmod 700 closed
    """
    ),
    "who am I": r"""
        id -u; id -G; whoami; logname 2>&1; groups; echo $PPID | grep -c .; ps -o comm= -p $$
        cat /proc/self/comm; tr '\0' ' ' </proc/self/cmdline; echo
        grep -E '^(Uid|Gid|Groups|Umask|CapEff)' /proc/self/status; nproc; arch
        uname -sm; hostname; tty; stat -c %F /proc/self/fd/0; cat /proc/self/loginuid >/dev/null
        getent passwd root; getent hosts localhost | wc -l; id nobody; id nosuch
        ls -d /proc/self/task/*/ | wc -l; cat /proc/self/oom_score_adj
        grep -c heap /proc/self/maps
    """,
    "lsof": Case("""
        exec 3>held; mkdir d; lsof -w -Fn -p $$ -a -d 3 | grep ^n; lsof -w -Fn -a -p $$ -d cwd | grep ^n
        lsof -w missing 2>&1 | tail -1; (cd d; sleep 60 & echo $! >../p)
        until [ $(readlink /proc/$(cat p)/cwd) = /mnt/d ]; do :; done; lsof -w -t +d d | wc -l
        kill $(cat p); readlink /proc/$$/fd/3; readlink /proc/$$/exe; kill -0 $$
        ls /proc/$$/fd/[0-3] | sed 's/.*fd/fd/'; wait; rm p
    """),
    "procfs": Case(r"""
        cd /proc/self; /bin/pwd | sed 's/[0-9]\+/N/'; cat comm; cat cwd/file 2>&1; cd /mnt
        echo here >file; cat /proc/self/cwd/file; cat /proc/self/root/mnt/file
        cat /proc/thread-self/cwd/file; ls /proc/self/cwd/; stat -L -c %F /proc/self/cwd
        cd /proc/self/cwd; /bin/pwd; cd /mnt; echo x >/proc/self/cwd/made; cat made
        grep -c mnt /proc/self/mountinfo >/dev/null; cat /proc/self/attr/current >/dev/null 2>&1
        cp /bin/cat c; ./c /proc/self/maps | grep -o '/mnt/c' | sort -u; ./c /proc/self/comm
        ln -s /proc/self/fd/0 zero; cat zero <file; cat /dev/stdin <file
        head -1 /proc/self/stat | cut -d' ' -f2
        cat /proc/sys/kernel/ostype /proc/filesystems | head -1; echo 1 >/proc/self/comm
        ls /proc/self/ns; readlink /proc/self/ns/mnt | cut -c1-4
        sh -c 'echo renamed >/proc/$$/comm; cat /proc/$$/comm'; ls /proc/99999999
        cat /proc/self/nonono; cat /proc/self/mem 2>&1 | wc -c; ls -d /proc/self/fd/
        ls /sys/kernel | head -2; cat /proc/$$/task/*/comm; cat /proc/$$/cwd/file
        mountpoint /mnt; mountpoint /mnt/none; df --output=target . /proc; findmnt -no TARGET -T file
        readlink /proc/$$/cwd; grep VmLck /proc/self/status; test -e /proc/$$/root/mnt/file
        echo $?
    """),
}
