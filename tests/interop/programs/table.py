"""What the programs are made to do."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .program import NOBODY, ROOT, Program

C = r"""
mkdir -p src inc; echo '#define ANSWER 42' >inc/deep.h
printf '#include "deep.h"\n#include <stdio.h>\n#include <string.h>\nint twice(int x);\n' >inc/all.h
printf '#include "all.h"\nint main(void) { printf("%%d %%s\\n", twice(ANSWER), __FILE__); return 0; }\n' >src/main.c
printf '#include "all.h"\nint twice(int x) { return 2 * x; }\n' >src/twice.c
"""


def compiler(name: str) -> str:
    """Compile with dependencies, then through a precompiled header."""
    return rf"""{C}
{name} -Iinc -MMD -MF main.d -g -c src/main.c -o main.o; {name} -Iinc -g -c src/twice.c -o twice.o
{name} main.o twice.o -o prog; ./prog; sed 's/\\$//' main.d | tr -s ' ' '\n' | grep inc | sort
{name} -x c-header -Iinc inc/all.h -o inc/all.h.gch 2>&1; test -s inc/all.h.gch && echo a header
{name} -Iinc -include inc/all.h -Winvalid-pch src/*.c -o again; ./again; cd src
{name} -I../inc -O2 -flto -c twice.c -o ../lto.o && echo lto; {name} -I /mnt/inc -E main.c | grep -c twice
objdump --dwarf=info /mnt/main.o | grep -o 'DW_AT_comp_dir.*' | sed 's/.*: //'; {name} missing.c 2>/dev/null; echo $?"""


TABLE: tuple[Program, ...] = (
    Program(
        "git",
        "git",
        "git --version",
        r"""
        git config --global user.name me; git config --global user.email me@example.org
        git config --global init.defaultBranch main; git config --global safe.directory '*'
        git init -q r; cd r; for i in $(seq 300); do mkdir -p d$((i % 20)); echo $i >d$((i % 20))/f$i; done
        git add .; git commit -qm one; git checkout -qb side; sed -i s/1/one/ d*/f*; git commit -qam two
        git checkout -q main; echo x >new; git add new; git commit -qm three; git merge -q side -m merged
        git log --format=%s; git gc -q; git fsck && echo clean; cd ..; git clone -q file:///mnt/r c; git -C c status -s
        git -C c worktree add -q ../w side; ls w | wc -l; git clone -q --bare r b; cd c; git push -q ../b main:pushed
        git -C ../b branch; git grep -c one | wc -l; git stash -q; git bisect start HEAD HEAD~2 >/dev/null; git bisect run sh -c 'test ! -e new' | tail -1
        """,
        "commit, merge, gc, fsck, clone, worktree, push, bisect",
    ),
    Program(
        "python venv, pip",
        "python3-venv",
        "python3 --version",
        r"""
        python3 -m venv v; v/bin/python -c 'import sys, os; print(sys.executable, sys.prefix, os.path.realpath(sys.executable))'
        v/bin/pip install -q wheel six && v/bin/python -c 'import six; print(six.__file__)'
        mkdir -p pkg/thing; echo 'def say(): return __file__' >pkg/thing/__init__.py
        printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "thing"\nversion = "1.0"\nscripts.thing = "thing:say"\n' >pkg/pyproject.toml
        v/bin/pip install -q --no-index --no-build-isolation ./pkg; v/bin/pip list 2>/dev/null | grep thing
        v/bin/python -c 'import thing; print(thing.say())'; head -1 v/bin/thing; v/bin/thing 2>&1
        . v/bin/activate; command -v python; pip uninstall -qy thing; pip install -q --no-index --no-build-isolation -e ./pkg
        cd /; python -c 'import thing; print(thing.say())'; python -m compileall -q /mnt/pkg; ls /mnt/pkg/thing/__pycache__
        python -c 'import multiprocessing as m; p = m.Pool(3); print(sum(p.map(abs, range(-9, 0))))'
        """,
        "a virtual environment, packages built and installed, editable too",
    ),
    Program(
        "npm",
        "npm, or nodejs of nodesource",
        "npm --version",
        r"""
        mkdir -p lib app; cd lib; printf '{"name": "lib", "version": "1.0.0", "main": "i.js", "bin": {"lib-say": "say.js"}}' >package.json
        echo 'module.exports = () => __filename' >i.js; printf '#!/usr/bin/env node\nconsole.log(require("lib")())\n' >say.js
        npm pack --silent; cd ../app; npm init -y >/dev/null; npm install --silent --offline --no-audit --no-fund ../lib/lib-1.0.0.tgz
        npm ls; node -p 'require("lib")()'; npx --offline lib-say; npm pkg set scripts.test='node -p "process.cwd()"'; npm test --silent
        node -e 'const fs = require("fs"); fs.watch(".", (e, f) => { console.log(e, f); process.exit() }); setTimeout(() => fs.writeFileSync("w", ""), 200)'
        node -e 'const {Worker} = require("worker_threads"); new Worker("console.log(require(`fs`).readdirSync(`.`).length)", {eval: true})'
        rm -rf node_modules; npm ci --silent --offline --no-audit --no-fund; ls node_modules
        """,
        "pack, install, run, ci; node's workers and watchers",
    ),
    Program(
        "go",
        "golang-go",
        "go version",
        r"""
        export GOCACHE=/mnt/.cache GOPATH=/mnt/go GOFLAGS=-mod=mod GOTOOLCHAIN=local GO111MODULE=on; mkdir -p m/sub; cd m; go mod init example.org/m 2>/dev/null
        printf 'package sub\nimport "os"\nfunc Say() string { d, _ := os.Getwd(); return d }\n' >sub/s.go
        printf 'package sub\nimport "testing"\nfunc TestSay(t *testing.T) { if Say() != "/mnt/m/sub" { t.Fatal(Say()) } }\n' >sub/s_test.go
        printf 'package main\nimport ("fmt"; "os"; "sync"; "example.org/m/sub")\nfunc main() { var w sync.WaitGroup; for i := 0; i < 200; i++ { w.Add(1); go func(i int) { defer w.Done(); n := fmt.Sprint("t", i); os.WriteFile(n, []byte(n), 0644); os.Rename(n, n+"x"); os.Remove(n + "x") }(i) }; w.Wait(); e, _ := os.ReadDir("."); fmt.Println(sub.Say(), len(e)) }\n' >main.go
        go build -o m . && ./m; go vet ./... && echo vetted; go test ./... | sed 's/[0-9.]*s$//'; CGO_ENABLED=0 go build -trimpath -o s . && ./s; go list ./...; go clean -cache
        """,
        "build, vet, test, a module of two packages; 200 goroutines on files",
        timeout=600,
    ),
    Program("gcc", "gcc", "gcc --version", compiler("gcc"), "-MMD, precompiled header, -flto"),
    Program(
        "clang", "clang", "clang --version", compiler("clang"), "-MMD, precompiled header, -flto"
    ),
    Program(
        "ccache",
        "ccache",
        "ccache --version",
        C
        + r"""
        export CCACHE_DIR=/mnt/cc; for i in 1 2 3; do ccache gcc -Iinc -c src/main.c -o m$i.o; ccache gcc -Iinc -c src/twice.c -o t$i.o; done
        cmp m1.o m3.o && gcc m3.o t2.o -o prog && ./prog; ccache --print-stats | grep -E '^(direct_cache_hit|cache_miss|preprocessed_cache_hit)' | sort
        CCACHE_BASEDIR=/mnt ccache gcc -I/mnt/inc -c /mnt/src/main.c -o b.o && ./prog; ccache -z >/dev/null; ccache -C >/dev/null; echo $?
        """,
        "misses and hits",
    ),
    Program(
        "cmake, ninja",
        "cmake ninja-build",
        "cmake --version",
        C
        + r"""
        printf 'cmake_minimum_required(VERSION 3.16)\nproject(p C)\nset(CMAKE_INSTALL_RPATH $ORIGIN/../lib)\nenable_testing()\ninclude_directories(inc)\nadd_library(twice SHARED src/twice.c)\nadd_executable(prog src/main.c)\ntarget_link_libraries(prog twice)\nadd_test(NAME runs COMMAND prog)\ninstall(TARGETS prog twice)\n' >CMakeLists.txt
        cmake -G Ninja -S . -B b -DCMAKE_INSTALL_PREFIX=/mnt/inst >/dev/null && ninja -C b | tail -1 | sed 's/^\[[0-9/]*\] //'; b/prog; ninja -C b | tail -1; touch src/twice.c; ninja -C b -n | grep -c '^\['
        touch inc/deep.h; ninja -C b -d explain 2>&1 | grep -c 'restat of depfile\|older than most recent input'; ctest --test-dir b 2>&1 | grep 'tests passed'; cmake --install b >/dev/null; inst/bin/prog
        cmake -S . -B m -G 'Unix Makefiles' >/dev/null && make -s -C m -j2 >/dev/null && m/prog; grep CMAKE_HOME_DIRECTORY b/CMakeCache.txt
        """,
        "configure, build, rebuild, test, install; ninja and make",
    ),
    Program(
        "autoconf, automake",
        "autoconf automake",
        "autoconf --version",
        C
        + r"""
        printf 'AC_INIT([p], [1.0])\nAM_INIT_AUTOMAKE([foreign subdir-objects])\nAC_PROG_CC\nAC_CHECK_FUNCS([mmap fork])\nAC_CHECK_HEADERS([unistd.h])\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n' >configure.ac
        printf 'bin_PROGRAMS = prog\nprog_SOURCES = src/main.c src/twice.c inc/all.h inc/deep.h\nAM_CPPFLAGS = -I$(srcdir)/inc\nTESTS = prog\n' >Makefile.am
        autoreconf -fi >/dev/null 2>&1; echo $?; mkdir o; cd o; ../configure -q --prefix=/mnt/inst; make -s -j2 >/dev/null; ./prog; make -s check 2>/dev/null | grep '^# PASS'; make -s install >/dev/null; ls /mnt/inst/bin; make -s distcheck >/dev/null 2>&1; echo $?; ls *.tar.gz
        """,
        "autoreconf, a build beside the source, check, install, distcheck",
        timeout=300,
    ),
    Program(
        "java",
        "default-jdk-headless",
        "java -version 2>&1",
        r"""
        mkdir -p p; cat >p/Main.java <<'E'
package p;
import java.nio.file.*; import java.util.stream.*; import java.util.concurrent.*;
public class Main { public static void main(String[] a) throws Exception {
  ExecutorService e = Executors.newFixedThreadPool(8);
  for (int i = 0; i < 200; i++) { final int n = i; e.submit(() -> { Path f = Files.createFile(Path.of("f" + n)); Files.writeString(f, "x".repeat(n)); Files.move(f, Path.of("g" + n)); return null; }); }
  e.shutdown(); e.awaitTermination(1, TimeUnit.MINUTES); byte[][] waste = new byte[50][];
  for (int i = 0; i < 2000; i++) waste[i % 50] = new byte[100000];
  System.gc(); try (Stream<Path> s = Files.list(Path.of("."))) { System.out.println(s.filter(q -> q.toString().contains("g")).mapToLong(q -> q.toFile().length()).sum()); }
  System.out.println(new java.io.File(".").getCanonicalPath() + " " + Main.class.getProtectionDomain().getCodeSource().getLocation());
  Process c = new ProcessBuilder("pwd").directory(new java.io.File("/mnt/p")).inheritIO().start(); System.out.println(c.waitFor()); } }
E
        javac -d out p/Main.java; java -cp out p.Main; printf 'Main-Class: p.Main\n' >m; jar cfm p.jar m -C out .; rm g*; java -Xint -jar p.jar; rm g*; java -XX:+UseSerialGC -Xshare:off -cp /mnt/p.jar p.Main; java -cp out p.None 2>/dev/null; echo $?
        """,
        "javac, jar, threads on files, garbage collection, child processes",
        timeout=300,
    ),
    Program(
        "maven",
        "maven-debian-helper junit4 openjdk-17-jdk-headless",
        "mvn --version",
        r"""
        mkdir -p src/main/java/p src/test/java/p src/main/resources; echo answer=42 >src/main/resources/p.properties; export HOME=/mnt
        printf 'package p;\npublic class Main { public static int answer() throws Exception { var all = new java.util.Properties(); all.load(Main.class.getResourceAsStream("/p.properties")); return Integer.parseInt(all.getProperty("answer")); }\n public static void main(String[] a) throws Exception { System.out.println(answer() + " " + Main.class.getProtectionDomain().getCodeSource().getLocation()); } }\n' >src/main/java/p/Main.java
        printf 'package p;\nimport org.junit.*;\npublic class MainTest { @Test public void answers() throws Exception { Assert.assertEquals(42, Main.answer()); System.out.println(new java.io.File(".").getCanonicalPath()); } @Test public void breaks() { Assert.assertFalse(new java.io.File("broken").exists()); } }\n' >src/test/java/p/MainTest.java
        printf '<project><modelVersion>4.0.0</modelVersion><groupId>p</groupId><artifactId>p</artifactId><version>1</version><properties><maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties><dependencies><dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.x</version><scope>test</scope></dependency></dependencies></project>\n' >pom.xml
        cp -rs /usr/share/maven-repo repo; m() { mvn -o -B -Duser.home=/mnt -Dmaven.repo.local=/mnt/repo "$@" | grep -E '^(.ERROR. )?Tests run|BUILD|^/|COMPILATION|Nothing to compile' | sed 's/Time elapsed.*//'; }
        m package; java -cp target/p-1.jar p.Main; touch broken; m -DskipTests package; m test; echo 'class Bad {' >src/main/java/p/Bad.java; m compile; find src target -name '*.class' -o -name '*.jar' | sort; ls
        """,
        "compile, test in a process of its own, package, rebuild, offline",
        timeout=600,
    ),
    Program(
        "rust, cargo",
        "rustc cargo",
        "rustc --version",
        r"""
        export CARGO_HOME=/mnt/.cargo CARGO_NET_OFFLINE=true; cargo new -q --vcs none hello; cd hello
        printf 'use std::{env, fs, thread};\nfn main() { let t: Vec<_> = (0..20).map(|i| thread::spawn(move || { let n = format!("t{i}"); fs::write(&n, &n).unwrap(); fs::rename(&n, format!("r{i}")).unwrap(); })).collect(); for x in t { x.join().unwrap(); } println!("{} {}", env::current_dir().unwrap().display(), fs::read_dir(".").unwrap().count()); }\n#[test] fn it() { assert!(fs::metadata("Cargo.toml").is_ok()); }\n' >src/main.rs
        cargo build -q; target/debug/hello; rm r*; cargo test -q 2>&1 | grep passed | sed 's/;.*//'; cargo run -q --release; cargo clean -q; ls
        """,
        "cargo build, test, run; threads on files",
        timeout=300,
    ),
    Program(
        "perl",
        "perl",
        "perl -v",
        r"""
        perl -MFile::Temp=tempfile -MFile::Find -MCwd=getcwd,abs_path -MFile::Copy -MIO::Socket::UNIX -e 'my ($f, $n) = tempfile("xXXXX", DIR => "/mnt"); print $f "text\n"; close $f; move $n, "moved"; mkdir "d"; copy "moved", "d/c"; find(sub { print "$File::Find::name\n" if -f }, "d"); print getcwd, " ", abs_path("d/../moved"), "\n"; my $s = IO::Socket::UNIX->new(Local => "sock", Listen => 1); unless (fork) { my $c = IO::Socket::UNIX->new("sock"); print $c "over\n"; exit } my $c = $s->accept; print <$c>; wait; unlink "sock"; print "$0 $^X\n"; opendir my $h, "."; print join(" ", sort grep !/^\./, readdir $h), "\n"; utime 5, 6, "moved"; print +(stat "moved")[9], "\n"; chdir "d" or die; print `pwd`; exec "cat", "c"'
        """,
        "files, processes, sockets",
    ),
    Program(
        "sqlite",
        "sqlite3",
        "sqlite3 --version",
        r"""
        sqlite3 db 'pragma journal_mode=wal; pragma mmap_size=100000000; create table t(a, b); create index i on t(a);'
        for p in 1 2 3 4; do (for i in $(seq 50); do echo "insert into t values($i, $p);"; done | sqlite3 -cmd '.timeout 60000' db) & done; wait
        ls db db-wal 2>/dev/null; sqlite3 db 'pragma mmap_size=100000000; select count(*), sum(a) from t; pragma integrity_check; pragma wal_checkpoint(truncate); vacuum'
        mkfifo go go2; (echo 'begin immediate; insert into t values(0, 0);'; echo '.shell echo >go'; cat go2; echo 'commit;') 2>/dev/null | sqlite3 db & read x <go
        sqlite3 db 'insert into t values(1, 1)' 2>&1 | grep -o 'database is locked'; echo >go2; wait
        sqlite3 db 'pragma journal_mode=delete; insert into t select * from t; select count(*) from t'; sqlite3 /mnt/db .dump | tail -1; sqlite3 'file:db?mode=ro' 'select count(*) from t'; ls
        """,
        "write-ahead log, mmap, four writers, locks",
    ),
    Program(
        "postgres",
        "postgresql",
        "postgres --version",
        r"""
        cat >run <<'E'
set -e; pg_ctl initdb -s -D d -o '-A trust -U me --no-sync' >/dev/null; echo "listen_addresses = ''" >>d/postgresql.conf
echo "unix_socket_directories = '/mnt'" >>d/postgresql.conf; export PGHOST=/mnt PGUSER=me; trap 'pg_ctl -s -D d stop -m immediate' EXIT
pg_ctl -s -w -l log -D d start; createdb bench; pgbench -i -q bench 2>/dev/null; pgbench -n -c 4 -j 2 -t 50 bench 2>/dev/null | grep actually
psql -qAt bench -c "copy (select 42, current_setting('data_directory')) to '/mnt/out'" -c "create tablespace t location '/mnt/space'" -c 'create table s tablespace t as select generate_series(1, 1000) n' -c 'select sum(n) from s'; cat out
psql -qAt bench -c "insert into pgbench_history select 1, 1, 1, 1, now() from generate_series(1, 10)"; pg_ctl -s -w -D d stop -m immediate; pg_ctl -s -w -l log -D d start
psql -qAt bench -c 'select count(*) from pgbench_history'; pg_dump bench | grep -c pgbench; pg_basebackup -c fast -D copy --no-sync -T /mnt/space=/mnt/space2 && pg_verifybackup -q copy && echo a backup
pg_ctl -s -w -D d stop; grep -c 'database system was not properly shut down' log; ls d | wc -l; pg_controldata d | grep 'cluster state'; trap - EXIT
E
        export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; mkdir space space2; command="sh -e run"
        if [ $(id -u) = 0 ]; then chown 65534:65534 . run space space2; setpriv --reuid=65534 --regid=65534 --clear-groups $command; else $command; fi
        """,
        "initdb, pgbench, a crash and its recovery, tablespaces, base backup",
    ),
    Program(
        "redis",
        "redis-server",
        "redis-server --version",
        r"""
        serve() { redis-server --port 0 --unixsocket /mnt/sock --dir /mnt --appendonly yes --daemonize yes --pidfile /mnt/pid --logfile /mnt/log --save 1 1 >/dev/null; until redis-cli -s sock ping 2>/dev/null | grep -q PONG; do :; done; }
        serve; redis-cli -s /mnt/sock set a 1; seq 1000 | sed 's/.*/rpush l &/' | redis-cli -s sock | tail -1; redis-cli -s sock incr a; redis-cli -s sock config get dir
        redis-cli -s sock bgrewriteaof; while redis-cli -s sock info persistence | grep -q 'in_progress:1'; do :; done; redis-cli -s sock save; redis-cli -s sock shutdown nosave; until [ ! -e pid ]; do :; done; ls appendonlydir | wc -l; test -s dump.rdb; echo $?
        serve; redis-cli -s sock llen l; redis-cli -s sock get a; redis-cli -s sock shutdown; until [ ! -e pid ]; do :; done; redis-check-rdb dump.rdb | grep -c 'keys read'; ls
        """,
        "append-only file, snapshots by fork, restart",
    ),
    Program(
        "nginx",
        "nginx-light",
        "/usr/sbin/nginx -v 2>&1",
        r"""
        mkdir html logs tmp; echo hello >html/index.html; head -c 3000000 /dev/zero >html/big; ln -s /mnt/html/index.html html/link; mkdir html/list; touch html/list/a
        printf 'pid /mnt/pid;\nerror_log /mnt/logs/error.log;\nworker_processes 2;\nevents {}\nhttp { access_log /mnt/logs/access.log; client_body_temp_path /mnt/tmp/a; proxy_temp_path /mnt/tmp/b; fastcgi_temp_path /mnt/tmp/c; uwsgi_temp_path /mnt/tmp/d; scgi_temp_path /mnt/tmp/e; server { listen unix:/mnt/sock; root html; autoindex on; location /up { proxy_pass http://unix:/mnt/sock:/; } } }\n' >conf
        [ $(id -u) = 0 ] && echo 'user nobody nogroup;' >>conf; cat >get <<'E'
import http.client, socket, sys
class C(http.client.HTTPConnection):
    def connect(self): self.sock = socket.socket(socket.AF_UNIX); self.sock.connect("/mnt/sock")
for path in sys.argv[1:]: c = C("x"); c.request("GET", path); r = c.getresponse(); b = r.read(); print(path, r.status, len(b), b[:20])
E
        /usr/sbin/nginx -p /mnt -c conf -t 2>&1 | tail -1; /usr/sbin/nginx -p /mnt -c conf && python3 -IS get / /big /link /list/ /up /up/big /none; /usr/sbin/nginx -p /mnt -c conf -s reload; python3 -IS get /
        mv logs/access.log logs/old; /usr/sbin/nginx -p /mnt -c conf -s reopen; until [ -e logs/access.log ]; do :; done; python3 -IS get /; readlink /proc/$(cat pid)/exe; ps -o user= --ppid $(cat pid) | sort -u
        /usr/sbin/nginx -p /mnt -c conf -s quit; until [ ! -e pid ]; do :; done; wc -l <logs/access.log; sed 's/.*GET/GET/' logs/old | sort | uniq -c; grep -c emerg logs/error.log; ls
        """,
        "static files, itself as a proxy, reload, log rotation, workers of another user",
    ),
    Program(
        "openssh",
        "openssh-server openssh-client openssh-sftp-server",
        "ssh -V 2>&1",
        r"""
        ssh-keygen -q -t ed25519 -N '' -f hostkey; ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized; mkdir -p /run/sshd
        printf 'HostKey /mnt/hostkey\nAuthorizedKeysFile /mnt/authorized\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nLogLevel DEBUG\n' >conf
        printf 'Host *\nProxyCommand /usr/sbin/sshd -i -f /mnt/conf -E /mnt/log\nIdentityFile /mnt/key\nUserKnownHostsFile /mnt/known\nStrictHostKeyChecking no\nLogLevel ERROR\n' >client; me=$(id -un); export HOME=/mnt
        printf 'cd /mnt\nput client there\nls there\nmkdir d\nrename there d/x\nget d/x back\nln -s /mnt/d/x l\nrm d/x\nbye\n' | sftp -q -b - -F client $me@x 2>&1 | tail -n +2; cmp client back && echo same; readlink l
        ssh -F client $me@x 'id -u; cd /mnt; ls authorized; grep -c . /proc/self/limits; tty; exit 3'; echo $?; ssh -tt -F client $me@x 'tty | cut -c1-9; test -t 0; echo $?' </dev/null; scp -q -F client $me@x:/mnt/key.pub copied; cmp key.pub copied && echo copied
        eval $(ssh-agent -a /mnt/agent) >/dev/null; ssh-add -q key; ssh-add -l | wc -l; mv key gone; printf 'ls /mnt/conf\n' | sftp -q -b - -F client $me@x 2>&1 | tail -1; ssh-agent -k >/dev/null; ssh -F client -o IdentitiesOnly=yes -i none $me@x true 2>/dev/null; echo $?
        grep -o 'SSH2_MSG_KEXINIT sent\|permanently_set_uid.*\|chroot.*' log | sort | uniq -c; grep -c -i 'killed by signal\|sandbox.*fail\|violation' log
        """,
        "sshd with its sandbox and separated privileges, sftp, scp, a terminal, the agent",
        users=(ROOT,),
    ),
    Program(
        "vim",
        "vim",
        "vim --version",
        r"""
        echo text >f; export TERM=xterm; script -qec 'vim -Nu NONE -c "normal ohello" -c "silent r! pwd; ls f*" -c "set backup writebackup" -c "wq" f' /dev/null </dev/null >/dev/null; cat f f~; ls -a | grep -c swp
        vim -Nesu NONE -c 'call writefile([getcwd(), expand("%:p"), resolve("l")], "out")' -c 'e /mnt/f' -c '%s/hello/bye/' -c 'set undofile undodir=/mnt' -c wq f; cat out f; ls -a | grep -c '%'; ln -s f l; vim -Nesu NONE -c '%d' -c 'call setline(1, "by link")' -c wq l; readlink l; cat f
        mkfifo go; (vim -Nesu NONE -c 'normal ounsaved' -c preserve -c 'call system("echo >go; cat go2")' f; true) & mkfifo go2; read x <go; ls -a | grep swp; kill -9 $(pgrep -P $! vim || echo $!); echo >go2; wait 2>/dev/null; vim -Nesu NONE -r f -c 'w rec' -c q! 2>/dev/null; cat rec
        """,
        "on a terminal, swap and backup and undo files, recovery after a crash",
    ),
    Program(
        "emacs -nw",
        "emacs-nox",
        "emacs --version",
        r"""
        export TERM=xterm; echo text >f; script -qec 'emacs -nw -Q f --eval "(progn (goto-char (point-max)) (insert \"hello\n\") (save-buffer) (shell-command \"pwd; ls -a\" t) (write-file \"g\") (kill-emacs 3))"' /dev/null </dev/null >/dev/null; echo $?; cat f f~ g
        printf '(defun twice (x) (* 2 x))\n(message "%%s %%s" (twice 21) load-file-name)\n' >e.el; emacs -Q --batch -l ./e.el -f batch-byte-compile e.el 2>&1 | grep -v Compiling; emacs -Q --batch -l /mnt/e.elc 2>&1
        emacs -Q --batch --eval '(let ((p (start-process "p" "b" "cat" "/mnt/f"))) (while (process-live-p p) (accept-process-output p)) (with-current-buffer "b" (princ (buffer-string))) (princ (file-truename "f")) (make-symbolic-link "f" "l") (dired "/mnt") (copy-file "f" "c" t t) (set-file-modes "c" 384) (delete-file "l" ))'; echo; ls -a; stat -c %a c
        """,
        "on a terminal, backup files, byte compiler, processes, dired",
    ),
    Program(
        "tmux",
        "tmux",
        "tmux -V",
        r"""
        export TERM=xterm; t() { tmux -S /mnt/sock -f /dev/null "$@"; }; t new-session -d -s one -x 80 -y 10 'PS1="> " sh'; t send-keys -t one 'pwd; echo $((6*7)) >out' Enter; until [ -s out ]; do :; done; cat out
        t split-window -t one 'cat >second'; t send-keys -t one typed Enter C-d; until [ "$(cat second 2>/dev/null)" = typed ]; do :; done; t new-window -d -t one 'read x'; t list-windows -t one -F '#{window_index} #{pane_current_path} #{pane_current_command}'
        t send-keys -t one:0 '' Enter; until t capture-pane -pt one:0 | grep -q /mnt; do :; done; t set-buffer copied; t save-buffer b; cat b; t run-shell 'pwd >ran'; cat ran; t source-file none 2>&1; script -qec 'tmux -S sock attach -t one \; detach-client' /dev/null </dev/null | grep -c detached; t kill-server; until [ ! -e sock ] || ! t ls 2>/dev/null; do :; done; ls
        """,
        "sessions, panes, buffers, attach and detach",
    ),
    Program(
        "chromium",
        "chromium chromium-sandbox",
        "chromium --version",
        r"""
        export XDG_RUNTIME_DIR=/mnt; echo '<p id=p></p><script>localStorage.n = 6*7; document.getElementById("p").textContent = localStorage.n + location.href; fetch("data:,x")</script>' >page.html
        c() { chromium --headless=new --disable-gpu --no-first-run --user-data-dir=/mnt/profile "$@" 2>/dev/null; }; c --dump-dom file:///mnt/page.html | grep -o '42file[^<]*'; c --screenshot=/mnt/shot.png file:///mnt/page.html; head -c 4 shot.png | od -c | head -1; c --print-to-pdf=/mnt/p.pdf file:///mnt/page.html; head -c 4 p.pdf; echo
        filters() { grep '^Seccomp_filters:' /proc/$1/status | cut -f2; }; chromium --headless=new --disable-gpu --no-first-run --user-data-dir=/mnt/profile --remote-debugging-port=0 file:///mnt/page.html 2>/dev/null &
        until r=$(pgrep -s 0 -f '^/usr/lib/chromium/chromium .*--type=renderer' | head -1); [ -n "$r" ] && [ $(filters $r) -gt $(filters $$) ]; do sleep 0.1; done; echo $(($(filters $r) - $(filters $$))) filter
        grep -E '^(NoNewPrivs|Cap...):' /proc/$r/status; grep ^NSpid /proc/$r/status | wc -w; for n in user net pid; do [ "$(readlink /proc/$r/ns/$n)" != "$(readlink /proc/$$/ns/$n)" ]; echo own $n $?; done
        readlink /proc/$r/root | sed 's/[0-9][0-9]*/N/'; ls /proc/$r/root/mnt 2>&1 | wc -l; ls /proc/$r/root 2>&1 | wc -l; until [ -s profile/DevToolsActivePort ]; do sleep 0.1; done; kill $!; wait 2>/dev/null; wc -c <page.html
        """,
        "headless with its own sandbox: a page, a picture, a PDF; name spaces and filters of a renderer",
        users=(NOBODY,),
        timeout=300,
    ),
)
