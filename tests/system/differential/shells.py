"""What shells do with files, descriptors, children, and signals."""

from __future__ import annotations

from .case import BASH, BUSYBOX, DASH, TREE, Case, Table

HERE_DOCUMENTS = r"""
cat <<E; cat <<'Q'; cat <<-T
$HOME $(echo sub) `pwd` $((1+2))
E
$HOME $(echo sub)
Q
	tab stripped
	T
cat <<A - <<B 3<<C
first
A
second
B
third
C
cat <<E >file; wc -c <file; while read a b; do echo "$b-$a"; done <<E
to file
E
one two
three four
E
f() { cat; }; f <<E
function
E
x=$(cat <<E
in substitution
E
); echo "$x"
big=$(seq 1 30000); cat <<E | md5sum
$big
E
sh <<'E'
echo a script; pwd
E
"""
"""Two of the documents are longer than a pipe's buffer."""

REDIRECTIONS = """
echo out >f; echo more >>f; cat <f; echo both >f2 2>&1; ls missing 2>err; cat err; { echo a
echo b >&2; } >g 2>&1; cat g
exec 3>h; echo three >&3; exec 3>&-; cat h; echo x >&3; echo $?; exec 4<>rw; echo written >&4
cat rw; exec 4>&-; : >empty; >empty2
echo x >missing/y; echo $?; cat <missing; echo $?; echo x >/mnt; echo $?; set -C; echo no >f
echo $?; echo yes >|f; cat f; echo new >n; set +C
echo swap 3>&1 >&2 2>&3 | cat; (echo sub) >s; { echo grp; } >>s; cat s; for i in 1 2; do echo $i
done >loop; cat loop; cat <&-; echo $?
while read l; do echo "[$l]"; done <loop; read first <loop; echo $first; if true; then echo if
fi >i; cat i; case x in x) echo c;; esac >c; cat c
echo a >"with space"; cat with*; v=var; echo v >$v; cat $v; echo 1 >/dev/null; echo 2 >/dev/stdout
echo 3 >/dev/stderr; cat </dev/null; ls -d /dev/fd/0
exec 9>log; ls missing >&9 2>&9; exec 9>&-; cat log; echo end 2>&- ; echo closed >&-; echo $?
chmod 400 f; echo denied >f; echo $?; ln -s nowhere l; echo via >l; cat nowhere
mkdir d; echo x >d; echo $?; cat <d; echo $?; set -C; echo x >l; echo y >/dev/null; echo $?
cat >created <f; ls
"""

GLOBS = r"""
cd tree; echo *; echo ?un; echo [a-o]*; echo */; echo */*; echo a/*/*; echo .*; echo *nothing*
echo "*"; echo l*k d*g; echo /mnt/tr*/o*; echo ../tr*/one; echo {a,b}; set -f; echo *; set +f
for f in *; do [ -d "$f" ] && echo "dir $f"; done; echo dirlink/*; echo [!a-z]*; echo [[:upper:]]*
echo gr*; case one in o*) echo match;; esac; ls -d *a*; echo empty/*; chmod 000 empty
echo empty/*; chmod 100 a; echo a/*; chmod 700 a; x='*'; echo $x; echo "$x"; echo \*; echo w*e
rm -f new*; echo n*
"""

TRAPS = """
trap 'echo exit $?' EXIT; trap 'echo usr1' USR1; trap '' USR2; trap 'echo term' TERM
kill -USR1 $$; kill -USR2 $$; kill -TERM $$; trap - USR1; (trap 'echo sub exit' EXIT; exit 3)
echo $?; { (kill -KILL $(exec sh -c 'echo $PPID')); echo $?; } 2>/dev/null
ulimit -c 0; { sh -c 'kill -SEGV $$'; echo $?; } 2>/dev/null; sh -c 'kill -TERM $$'; echo $?
trap 'echo pipe' PIPE; trap 'echo chld' HUP; sh -c "kill -HUP $$"
({ sleep 5 & kill $!; wait $!; } 2>/dev/null; echo $?); f() { return 7; }; f; echo $?
sh -c 'trap "echo in; exit 4" INT; kill -INT $$; echo not'; echo $?; set -e; false || true
(exit 5) || echo $?; exit 6
"""

JOBS = """
sleep 0 & wait $!; echo $?; (exit 3) & wait $!; echo $?; false & true & wait; echo $?
{ echo bg >f; } & wait; cat f; for i in 1 2 3 4 5; do (echo $i >j$i) & done; wait; cat j*
sh -c 'exit 9' & p=$!; wait $p; echo $?; kill -0 $p 2>/dev/null; echo $?
(cat >o) <f & wait; cat o; mkfifo p; (echo a >p) & cat <p; wait
{ sleep 100 & kill $!; wait $!; } 2>/dev/null; echo $?
sh -c 'trap "exit 8" TERM; kill -TERM $$; exit 9' & wait $!; echo $?
a=$(sleep 0 & echo x); echo $a
"""

PIPELINES = """
i=0; while [ $i -lt 100 ]; do echo $i | cat | sed s/^/x/; i=$((i+1)); done | md5sum
i=0; while [ $i -lt 10 ]; do echo $i | (read x; echo "$x" >>all) | cat; i=$((i+1)); done
md5sum <all
yes | head -n 1000 | wc -l; seq 1 5000 | grep 7 | sort -rn | tail -n 2; (exit 3) | true; echo $?
true | (exit 4); echo $?; cat missing | cat; ! false | false; echo $?
i=0; while [ $i -lt 15 ]; do x=$(echo $i | tr 0-9 a-j); y=$y$x; i=$((i+1)); done; echo $y
echo a | cat - f 2>/dev/null | cat; seq 1000 | xargs -n 100 echo | md5sum
"""

TABLE: Table = {
    **{
        f"{what} in {name}": Case(script, shell=shell, given=given)
        for name, shell in (("dash", DASH), ("bash", BASH), ("busybox sh", BUSYBOX))
        for what, script, given in (
            ("here-documents", HERE_DOCUMENTS, ""),
            ("redirections", REDIRECTIONS, ""),
            ("globs", GLOBS, TREE),
            ("traps", TRAPS, ""),
            ("jobs", JOBS, ""),
            ("100 pipelines", PIPELINES, ""),
        )
    },
    "bash process substitution": Case(
        r"""
        diff <(seq 3) <(seq 2 4); echo x > >(cat >f; echo done >&2); wait $!; cat f
        paste <(echo a) <(echo b) <(echo c); while read l; do echo "[$l]"
        done < <(printf '1\n2\n'); cat <(cat <(echo nested))
        tee >(md5sum >sum) <<<here >/dev/null; until [[ -s sum ]]; do :; done; cat sum
        readarray -t a < <(ls -d /mnt); echo "${a[@]}"; exec 5< <(echo five); cat <&5; [ -p <(:) ]
        echo $?; echo <(:) | sed 's/[0-9]*$/N/'; . <(echo 'echo sourced')
        source /dev/stdin <<<'echo again'
    """,
        shell=BASH,
    ),
    "bash globs": Case(
        """
        shopt -s globstar nullglob dotglob extglob; cd tree; echo **; echo **/; echo !(a|b*)
        echo *(o|n)e; echo *.none; echo @(one|two); compgen -G 'o*'; compgen -f a; compgen -d
        echo a/**/deep; shopt -s failglob; echo zzz*; echo after; shopt -u nullglob failglob
        shopt -s nocaseglob; echo ON*; GLOBIGNORE=one; echo o*; echo ~; echo ~root; cd ~; dirs
        pushd tree/a; popd; cd tree/dirlink; pwd; cd -P .; pwd; CDPATH=/mnt/tree; cd a; cd /mnt
        [[ -d tree && -L tree/link ]] && echo ok
    """,
        given=TREE,
        shell=BASH,
    ),
    "bash redirections": Case(
        r"""
        echo x &>both; ls missing &>>both; cat both; cat <<<word; exec {fd}>auto; echo $((fd > 9))
        echo a >&$fd; exec {fd}>&-; cat auto; echo $(<auto); set -o noclobber; echo y >auto
        echo $?; echo z >|auto; echo 1 >new; echo >>new; mapfile -t m <auto; echo ${#m[@]}
        read -t 5 -u 0 l; echo $?; printf '%(%Y)T\n' 0; coproc cat; echo to >&${COPROC[1]}
        read r <&${COPROC[0]}; echo $r; eval "exec ${COPROC[1]}>&-"; wait; set -o pipefail
        false | true; echo $? ${PIPESTATUS[@]}; ls missing |& cat; echo a >/dev/fd/1
        echo $BASHPID | grep -c .; trap 'echo err $?' ERR; false; trap 'echo ret' RETURN
        time -p true 2>/dev/null; ulimit -f 1; { head -c 5000 /dev/zero >lim; echo $?
        } 2>/dev/null
    """,
        shell=BASH,
    ),
    "scripts and interpreters": Case(r"""
        chmod 755 .; printf '#!/bin/sh\necho "$0" "$@"; pwd\n' >s; chmod 755 s; ./s a 'b c'
        /mnt/s; sh s; sh ./s; PATH=/mnt s; PATH=. s; PATH=:/bin s; ln -s s l; ./l; cd /; mnt/s
        mnt/./l x; cd /mnt; mkdir d; cd d; ../s; cd ..
        printf '#!/bin/sh -e\nfalse\necho not\n' >e; chmod 755 e; ./e; echo $?
        printf '#! /usr/bin/env sh\necho env $0\n' >v; chmod 755 v; ./v
        printf '#!/mnt/s with args\nx\n' >n; chmod 755 n; ./n y; printf '#!./s\n' >r; chmod 755 r
        ./r z; (cd d; ../r z); echo $?; printf '#!/no/such\n' >b; chmod 755 b; ./b; echo $?
        printf 'echo plain $0\n' >p; chmod 755 p; ./p; env ./p; echo $?; printf '#!/mnt/n\n' >n2
        printf '#!/mnt/n2\n' >n3; printf '#!/mnt/n3\n' >n4; printf '#!/mnt/n4\n' >n5; chmod 755 n?
        ./n2; ./n3; ./n4; echo $?; ./n5; echo $?
        ./d; echo $?; env ./d; echo $?; : >empty; chmod 755 empty; ./empty; echo $?; env ./empty
        echo $?; chmod 644 s; ./s; echo $?; env ./s; echo $?; ./missing; echo $?
        printf '\177ELF' >elf; chmod 755 elf; ./elf; echo $?; env ./elf; echo $?
        printf '#!/bin/sh' >noline; chmod 755 noline; ./noline; echo $?; printf '#!\n' >nothing
        chmod 755 nothing; env ./nothing; echo $?; chmod 755 s; chmod 111 s; ./s; echo $?
        printf '#!/bin/cat -A\ntext\n' >c; chmod 755 c; ./c c
        printf '#!/bin/echo one two  three \n' >o; chmod 755 o; ./o four
        printf '#!/bin/sh\n. ./lib; f "$@"\n' >m; echo 'f() { echo lib $#; }' >lib; chmod 755 m
        ./m 1 2; exec ./m 3
    """),
    "subshells and functions": Case("""
        x=1; (x=2; cd /; echo $x; pwd); echo $x; pwd; f() { cd /tmp; pwd; }; (f); pwd; y=$(cd /usr
        pwd); echo $y; { cd /; pwd; } | cat; pwd; eval 'cd /usr && pwd'; cd /mnt
        echo 'cd /usr; z=3' >inc; . ./inc; pwd; echo $z; cd /mnt; command . ./nothere
        echo not reached
    """),
    "login-like start": Case("""
        echo 'echo profile; export P=1' >.profile; echo 'echo bashrc' >.bashrc
        echo 'echo logout' >.bash_logout; bash -l -c 'echo $P'; sh -l -c 'echo $P'
        bash -i -c 'echo int' 2>/dev/null; ENV=/mnt/.bashrc sh -i -c 'echo env' 2>/dev/null
        BASH_ENV=.bashrc bash -c 'echo be'; env -i /bin/sh -c 'pwd; export -p'
        echo "echo history" | bash --norc -s; su -h >/dev/null; env -C / pwd; env -C missing pwd
        echo $?; bash -c 'history -w h; wc -l <h'; HISTFILE=hist bash -i -c : 2>/dev/null; ls -A
    """),
}
