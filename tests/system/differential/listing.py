"""Programs that look at names and say what they see."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from .case import TREE, Case, Table


def tree(script: str) -> Case:
    """A case that finds one of everything."""
    return Case(script, given=TREE)


TABLE: Table = {
    "ls": tree("""
        ls tree; ls -a tree; ls -A tree/a; ls -1 tree/a; ls -F tree; ls -p tree; ls -Q tree
        ls -b tree; ls -q tree; ls -m tree; ls -C tree; ls -x -w 40 tree; ls -R tree
        ls -U tree/a/b; ls -r tree; ls -S tree; ls -X tree; ls -v tree; ls -B tree
        ls --group-directories-first tree; ls --color=always tree; ls --hide='o*' tree
        ls -I 'd*' tree; ls --indicator-style=slash tree
    """),
    "ls -l": tree("""
        ls -l --time-style=full-iso tree; ls -ln tree; ls -lg tree/a; ls -lo tree/a
        ls -lG tree/a; ls -lh tree/sparse; ls -ls tree/one; ls -l --author tree/one
        ls -lL --time-style=+%s tree/link tree/dirlink; ls -lH tree/link; ls -ld tree tree/empty
        ls -lt tree/one tree/run; ls -lZ tree/one; ls -l --block-size=K tree/sparse
        ls -lu --time-style=+%s tree/run; ls -l tree/dirlink tree/dirlink/
    """),
    "ls errors": tree("""
        ls missing; echo $?; ls tree/one/under; echo $?; ls tree/dangling; echo $?
        ls -l tree/dangling/; echo $?; ls -L tree/dangling; echo $?; ls -d ''; echo $?
        ls --no-such-option; echo $?; ls tree/empty; echo $?; chmod 000 tree/empty
        ls tree/empty; echo $?; chmod 200 tree/a; ls -l tree/a/two; echo $?; chmod 700 tree/a
        name=$(printf '%0300d' 0); ls $name; echo $?; ls $(printf '%05000d' 0); echo $?
    """),
    "dir and vdir": tree(
        "dir tree; vdir --time-style=full-iso tree; dir -b tree; vdir -n tree/a; dircolors -b"
    ),
    "stat": tree(r"""
        for name in tree/*; do
            stat -c '%n|%N|%s|%b|%B|%f|%F|%a|%A|%u|%g|%U|%G|%h|%t|%T|%x|%y|%Y|%o' "$name"
        done
        stat -L -c '%n %F %s %y' tree/link tree/dirlink tree/absolute; stat -c %m tree
        stat -t -L tree/missing; stat tree/dangling/; stat -L tree/dangling; stat ''
        stat -f -c '%t %T %s %S %l' tree/one; stat --printf '%n\n%a\n' tree/run /etc/passwd
        test "$(stat -c %i tree/one)" = "$(stat -c %i tree/a/hard)" && echo same inode
        stat -c '%n %F' - </dev/null; stat -c %F -L /dev/stdin /proc/self/exe </dev/null
    """),
    "test": tree(r"""
        for name in tree/one tree/a tree/link tree/dirlink tree/dangling tree/fifo tree/empty \
            tree/run tree/sparse tree/missing /dev/null /dev/tty /proc/self/exe tree/one/x ''; do
            for op in a b c d e f g G h k L N O p r s S u w x; do
                [ -$op "$name" ] 2>/dev/null && printf '%s' $op
            done
            echo " $name"
            for op in b c d e f g G h k L O p r s S u w x; do
                /usr/bin/test -$op "$name" && printf '%s' $op
            done
            echo " again"
        done
        [ tree/one -ef tree/a/hard ]; echo $?; [ tree/one -ef tree/link ]; echo $?
        [ tree/one -ot tree/a ]; echo $?; [ tree/one -nt tree/a ]; echo $?
        test tree/missing -ot tree/one; echo $?; test -t 0; echo $?
    """),
    "test in bash": Case(
        r"""
        for name in tree/* missing /dev/null; do
            for op in a b c d e f g G h k L N O p r s S u w x; do
                [[ -$op $name ]] && printf %s $op
            done
            echo " $name"
        done
        [[ tree/one -ef tree/a/hard && tree/one -ot tree/run ]]; echo $?
    """,
        given=TREE,
        shell=("bash", "--norc", "-c"),
    ),
    "test in busybox": Case(
        r"""
        for name in tree/* missing /dev/null; do
            for op in b c d e f g G h k L O p r s S u w x; do
                [ -$op "$name" ] && printf %s $op
            done
            echo " $name"
        done
        [ tree/one -ef tree/a/hard ]; echo $?; stat -c '%n %s %a' tree/*; ls -la tree/a
    """,
        given=TREE + "find tree -exec touch -h -d '2001-02-03' {} +",
        shell=("busybox", "sh", "-c"),
    ),
    "readlink and realpath": tree("""
        for name in tree/link tree/dirlink tree/dangling tree/absolute tree/one tree/missing             tree/missing/deeper tree/one/under tree/a/../link tree/dirlink/../../link . / ''             tree/link/ tree/dirlink/ /proc/self/exe; do
            readlink "$name"; echo $?
            readlink -f "$name"; readlink -e "$name"; readlink -m "$name"; echo $?
            realpath "$name"; realpath -e "$name"; realpath -m "$name"; echo $?
            realpath -s "$name"; realpath -L "$name"; realpath --relative-to=tree/a "$name"
        done
        readlink -v tree/one; readlink -n tree/link; readlink -z tree/link tree/dirlink | od -c
        ln -s loop2 loop1; ln -s loop1 loop2; readlink -f loop1; echo $?; cat loop1
        realpath --relative-base=/mnt tree/a tree/dirlink /etc
    """),
    "pwd": tree("""
        pwd; /bin/pwd; cd tree/dirlink; pwd; pwd -P; /bin/pwd; /bin/pwd -L; cd ..; pwd
        cd -P /mnt/tree/dirlink; pwd; cd -; cd ../..; /bin/pwd; cd mnt; mkdir gone; cd gone
        rmdir ../gone; /bin/pwd; echo $?; ls; echo $?; touch x; echo $?; cd ..; echo $?; pwd
        cd /mnt/tree/a; mv ../a ../moved; /bin/pwd; ls; cd /; /bin/pwd; cd; pwd
    """),
    "du": tree(r"""
        du tree; du -a tree | sort -k2; du -s tree; du -b tree/sparse; du -h tree/sparse
        du --apparent-size -a tree/a | sort; du -c tree/one tree/a/hard; du -l -a tree | sort -k2
        du -L tree | sort; du -x -d 1 tree; du -0 tree/a | od -c; du --inodes tree
        du --exclude='*a*' -a tree | sort -k2; du missing; echo $?; printf 'tree/one\0' >list
        du --files0-from=list; du --time --time-style=full-iso -a tree/run; du -t 50K -a tree
    """),
    "df": tree("""
        df --output=source,fstype,itotal tree/one; df -P tree/one | wc -l
        df --output=file tree tree/link; df missing; echo $?; df -T /proc | wc -l
        df --output=fstype /proc /dev/null /dev/shm; df tree/dangling; echo $?
    """),
    "find": tree(r"""
        cd tree
        find . | sort; find . -type f | sort; find . -type l | sort; find . -type d | sort
        find . -type p; find . -name 'o*' | sort; find . -iname 'ONE'; find . -path '*/b/*'
        find . -size +50k; find . -size 4c | sort; find . -empty | sort; find . -links 2 | sort
        find . -perm 600; find . -perm -111 -type f; find . -perm /022 | sort; find . -user nobody
        find . -uid 0 | sort; find . -newer one | sort; find . -newermt 2001-01-01 | sort
        find . -samefile one | sort; find . -lname 'a/*'; find -L . -type l; find . -xtype l
        find . -regex './[od].*' | sort; find . -maxdepth 1 | sort; find . -mindepth 2 | sort
        find a -depth; find . -prune; find . -name a -prune -o -print | sort
        find . -readable -type f | sort; find . -writable -type f | sort; find . -executable | sort
        find . -fstype ext4 -name one; find . -mtime +1000 -type f | sort
    """),
    "find actions": tree(r"""
        cd tree
        find . -printf '%p %y %Y %m %M %n %s %u %g %U %G %d %f %h %H %P %l %k %T@ %A@\n' | sort
        find . -ls | awk '{ $1 = ""; print }' | sort; find . -print0 | sort -z | od -c
        find a -exec echo {} ';'; find a -exec echo {} +; find a -execdir pwd ';'
        find a -type f -execdir cat {} ';'; find . -name one -quit; find . -name '*.x' -o -quit
        find . -name deep -fprintf out '%p\n'; cat out; find . -name out -delete
        find a -delete; ls a; echo $?; find missing; echo $?; find . -nosuch; echo $?
        find . -type f -exec false {} ';'; echo $?; find . -type f -exec false {} +; echo $?
        find . -type f -print0 | xargs -0 md5sum | sort; find . -exec missing {} ';' 2>&1 | sort -u
        find / -maxdepth 1 -name mnt; find /mnt/tree -maxdepth 1 -name one; find . -mount -name one
    """),
    "find without permission": tree("""
        chmod 000 tree/a/b; chmod 100 tree/empty; find tree | sort; echo $?
        find tree -type f -exec cat {} + >/dev/null; chmod 444 tree/a; find tree/a; echo $?
        chmod 755 tree/a tree/a/b
    """),
    "getcwd deep": """
        i=0; while [ $i -lt 25 ]; do
            mkdir 0123456789012345678901234567890123456789; cd 01234567890123456789*; i=$((i+1))
        done
        /bin/pwd | wc -c; /bin/pwd | md5sum; echo here >file; cat file; readlink -f file | wc -c
        cat "$(/bin/pwd)/file"; ls; cd ../../..; /bin/pwd | wc -c; cd /mnt
        find . -name file | wc -c; find . -name file -exec cat {} ';'
        du -s --apparent-size . | wc -l
    """,
    "deeper than PATH_MAX": r"""
        i=0; while [ $i -lt 110 ]; do
            mkdir 0123456789012345678901234567890123456789; cd -P 0123456789* 2>/dev/null || break
            i=$((i+1))
        done
        echo $i; echo x >file; cat file; ls; /bin/pwd | wc -c; stat -c %s file
        cd /mnt; find . -type f -execdir cat {} ';'; find . -type d | wc -l
        rm -rf 0*; ls
    """,
    "file": tree("""
        file tree/one tree/a tree/link tree/dangling tree/fifo tree/run tree/sparse /dev/null
        file -L tree/link tree/absolute; file -i tree/run; file -b tree/größe; file missing
        file -s /bin/true | cut -c1-60
    """),
    "chained symbolic links": r"""
        mkdir d; echo end >d/0; i=0
        while [ $i -lt 45 ]; do ln -s $i d/$((i+1)); i=$((i+1)); done
        for n in 1 20 39 40 41 42 45; do cat d/$n; echo $?; readlink -f d/$n; done
        stat -L -c %F d/40 d/41; cd d; cat 40; cat 41; ls -L 41; test -e 41; echo $?
        touch 41; rm 41; ls | wc -l; cd ..; ln -s d dd; cat dd/39; cat dd/40; echo $?
    """,
}
