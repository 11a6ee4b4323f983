"""Data bases, and cryptography on files."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import Table

TABLE: Table = {
    "sqlite3 with a rollback journal": """
        sqlite3 a.db 'create table t(x); insert into t values(1),(2); select sum(x) from t;'; ls
        sqlite3 a.db 'begin; insert into t values(3); rollback; select count(*) from t; pragma integrity_check;'
        sqlite3 a.db '.dump'
        sqlite3 a.db 'vacuum into "b.db"; attach "b.db" as b; select count(*) from b.t;'
        sqlite3 a.db '.backup c.db'; cmp a.db c.db
        sqlite3 missing/x.db 'select 1; create table t(x);'; echo $?; chmod 444 a.db
        sqlite3 a.db 'insert into t values(9);'; echo $?
        for m in delete truncate persist memory off
        do sqlite3 j$m.db "pragma journal_mode=$m; create table t(x); insert into t values('$m');"
        done; ls; seq 1000 >n
        sqlite3 d.db 'create table n(i integer primary key);' '.import n n' 'select sum(i) from n; create index k on n(i); delete from n where i%2; vacuum; pragma page_count;'
        rm -f *-journal; sqlite3 -readonly c.db 'select * from t;'
        sqlite3 file:c.db?mode=ro .tables; sqlite3 . 'select 1; create table x(y)'; echo $?
    """,
    "sqlite3 with WAL": """
        sqlite3 w.db 'pragma journal_mode=wal; create table t(x); insert into t values(1);'; ls
        python3 -IS - <<'E'
import sqlite3, os, threading
a = sqlite3.connect("w.db", isolation_level=None)
b = sqlite3.connect("w.db", isolation_level=None, timeout=0)
a.execute("insert into t values(2)"); print(sorted(os.listdir(".")), os.path.getsize("w.db-shm"))
a.execute("begin immediate"); print(b.execute("select count(*) from t").fetchall())
try: b.execute("insert into t values(3)")
except sqlite3.OperationalError as e: print(e)
a.execute("commit"); b.execute("insert into t values(4)")
print(a.execute("pragma wal_checkpoint").fetchall())
def work(n):
    c = sqlite3.connect("w.db", timeout=60)
    for i in range(5): c.execute("insert into t values(?)", (n * 100 + i,)); c.commit()
    c.close()
ts = [threading.Thread(target=work, args=(n,)) for n in range(4)]; [t.start() for t in ts]
[t.join() for t in ts]
print(a.execute("select count(*), sum(x) from t").fetchall()); a.close(); b.close()
print(sorted(os.listdir(".")))
E
        for i in 1 2 3 4; do sqlite3 w.db ".timeout 60000" "insert into t values(1$i);" & done
        wait; sqlite3 w.db 'select count(*) from t; pragma journal_mode=delete;'; ls
        sqlite3 w.db 'select sum(x) from t;'; rm w.db
    """,
    "openssl": """
        printf secret >p; openssl dgst -sha256 p
        openssl enc -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 00000000000000000000000000000000 -in p -out c
        od -An -tx1 c
        openssl enc -d -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 00000000000000000000000000000000 -in c
        openssl base64 -in p; openssl genpkey -algorithm ed25519 -out key; stat -c %a key
        openssl pkey -in key -pubout -out pub
        openssl pkeyutl -sign -inkey key -rawin -in p -out sig
        openssl pkeyutl -verify -pubin -inkey pub -rawin -in p -sigfile sig
        openssl dgst missing 2>/dev/null; echo $?
        openssl req -x509 -key key -subj /CN=x -days 1 -out cert
        openssl x509 -in cert -noout -subject; openssl verify -CAfile cert cert
        openssl rand -out r 10; stat -c %s r; RANDFILE=/mnt/rnd openssl rand -hex 2 | wc -c
        rm -f key pub sig cert r rnd
    """,
    "dbm and mmap": """
        python3 -IS - <<'E'
import dbm.dumb, mmap, os, shelve, pickle, json, csv
with dbm.dumb.open("d", "n") as d: d["k"] = "v"
with dbm.dumb.open("d") as d: print(d["k"])
f = open("m", "w+b"); f.truncate(10000); m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b"hello"
m.flush(); print(os.pread(f.fileno(), 5, 5000))
g = open("m", "r+b"); n = mmap.mmap(g.fileno(), 0); n[0] = 65; print(m[0]); pid = os.fork()
if pid == 0: m[1] = 66; os._exit(0)
os.waitpid(pid, 0); print(n[:2]); p = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE); p[2] = 67
print(m[2]); os.rename("m", "mm"); m[3] = 68; os.unlink("mm"); print(n[3])
open("mapped", "wb").write(n)
json.dump({"a": 1}, open("j", "w")); print(json.load(open("j")))
csv.writer(open("c", "w")).writerow([1, 2]); print(open("c").read())
pickle.dump([1], open("p", "wb"))
E
        rm d.*
    """,
    "jq and tools on data": """
        echo '{"a":[1,2]}' >j; jq -c .a j; jq -n --slurpfile x j '$x'; jq . missing; echo $?
        echo '.a' >f; jq -f f j; printf 'include "m"; g' >q; echo 'def g: 7;' >m.jq
        jq -L . -n -f q; xmllint --version 2>/dev/null; python3 -IS -m json.tool j out; cat out
        uuidgen -n @dns -N x -s; mcookie | wc -c; cal 2 2001 2>/dev/null | wc -l
        getopt -o a: -- -a b c; look 2>&1 | head -1; col -b <j; logger --help >/dev/null
        rename.ul a b j 2>/dev/null; fallocate -l 8192 fa; stat -c '%s %b' fa
        fallocate -p -o 0 -l 4096 fa; fallocate -d fa; fallocate -l 5 missing/x; echo $?
        hardlink -q . ; mountpoint /mnt/j; echo $?; mountpoint -q /proc; echo $?
        findmnt -n -o FSTYPE /proc | head -1; ipcs -q | wc -l
    """,
}
