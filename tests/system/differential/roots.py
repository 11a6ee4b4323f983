"""Other roots, name spaces, and mounts inside of the view."""

# ruff: noqa: E501 - scripts are quoted as a shell would be given them

from __future__ import annotations

from dataclasses import replace

from .case import Case, Table

ROOT = """
mkdir -p root/bin root/etc root/proc root/dev root/tmp; cp $(command -v busybox) root/bin/busybox
for a in sh ls cat pwd mkdir ln mv rm readlink touch stat id; do ln -s busybox root/bin/$a; done
echo inside >root/etc/name; ln -s /etc/name root/absolute; ln -s ../../../etc/name root/etc/up
"""


def root(script: str, *users: int) -> Case:
    """A case that finds a small root file system."""
    return Case(f"{script}\nrm -rf root/bin", given=ROOT, users=users or (0, 65534))


def elsewhere(script: str, *users: int) -> Case:
    """A case whose processes go to other mount name spaces: there the claims are real mounts."""
    return replace(root(script, *users), leaves=True)


TABLE: Table = {
    "chroot": root(r"""
        chroot root /bin/sh -c 'pwd; ls /; cat /etc/name /absolute /etc/up; cd etc; pwd; cat name; mkdir /made; touch /made/x; mv /made /moved; cat /../../etc/name; ls /mnt; ln -s /etc/name /l; cat /l; readlink /l; exec cat /moved/../etc/name'
        echo $?; chroot root no-such; echo $?; chroot missing sh; echo $?
        chroot root sh -c 'exit 4'; echo $?; cd root; chroot . /bin/pwd
        chroot /mnt/root /bin/sh -c 'echo x >/tmp/f; stat -c "%s %U" /tmp/f; cat /mnt/root/etc/name'
        echo $?; chroot --userspec=65534:65534 . /bin/sh -c 'id -u; echo y >/tmp/g; cat /etc/name'
        chroot / /bin/pwd; chroot --skip-chdir / /bin/pwd; cd /mnt; cp -r root/etc root/copy
        chroot root /bin/sh -c 'cd copy; ls; pwd; (cd /; ls bin | head -1); cat name & wait'
        rm -rf root/copy
        perl -e 'chroot "root" or print "$!\n"; print -e "/etc/name" ? "in\n" : "out\n"; chdir "/" or print "$!\n"; mkdir "by-perl" or print "$!\n"; print join(" ", sort glob "/b*"), "\n"'
        echo $?
    """),
    "unshare": root(
        r"""
        unshare -r sh -c 'id -u; echo x >owned; stat -c %u owned; cat /proc/self/uid_map | wc -l
            chown 0 owned; mkdir d; touch d/f; mv d/f g; cat /mnt/root/etc/name; ls'; echo $?
        unshare -r chroot root /bin/sh -c 'pwd; cat /etc/name; echo y >/tmp/z; ls /tmp'
        unshare -rn sh -c 'cat root/etc/name'; unshare -ru sh -c 'hostname other; hostname'
        unshare -i true; echo $?; unshare -rpf sh -c 'echo $$; pwd; cat root/etc/name; ls -d /mnt'
        unshare -U sh -c 'id -u; cat root/etc/name; echo x >u; ls -ld u | cut -c1-10'; echo $?
    """
    ),
    "unshare --mount": elsewhere(
        r"""
        unshare -rm sh -c 'mkdir -p m; mount -t tmpfs none m && echo t >m/file && ls m
            cat m/file; cd m && pwd && mkdir sub && ls'; echo $?; ls m
        unshare -rm sh -c 'mount --bind root/etc m; cat m/name; cd m; /bin/pwd; ls /mnt/m'
        unshare -rpf --mount-proc sh -c 'echo $$; ls -d /proc/1; cat /proc/1/comm
            readlink /proc/self; pwd; cat root/etc/name'
    """
    ),
    "bwrap": elsewhere("""
        bwrap --bind root / --proc /proc --dev /dev sh -c 'pwd; ls /; cat /etc/name /absolute; echo x >/tmp/y; echo >/dev/null; ls /dev | head -2; readlink /proc/self/exe'
        echo $?
        bwrap --ro-bind / / --bind /mnt /mnt --tmpfs /tmp sh -c 'pwd; echo t >/tmp/t; cat /tmp/t; ls /tmp; echo w >/mnt/written; cat /mnt/written; echo no >/etc/x'
        echo $?; bwrap --ro-bind / / --chdir /usr /bin/pwd
        bwrap --unshare-all --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin --dir /made --file 3 /data --bind root/etc /etc sh -c 'ls /; cat /data /etc/name; mkdir /made/x; ls /made; cat /mnt/root/etc/name' 3<<E; echo $?; bwrap --bind missing / true; echo $?; bwrap --ro-bind / / no-such; echo $?
data
E
    """),
    "mounts of one's own": Case(
        r"""
        echo hello >f; mkdir -p a b sub
        unshare -rm sh -c 'pwd; cat f; cat /mnt/f; mount --bind a b; echo x >b/new; ls a /mnt; mount -t tmpfs none a; echo y >/mnt/a/t; cat a/t; cd /; cat /mnt/f; readlink /proc/self/cwd'; echo $?
        bwrap --ro-bind / / --bind /mnt /mnt --tmpfs /tmp sh -c 'pwd; cat /mnt/f; echo w >/mnt/written; cat written'; echo $?; ls
        bwrap --bind / / --dev /dev --proc /proc --chdir /mnt/sub sh -c 'pwd; cat ../f; readlink /proc/self/cwd'; echo $?
        bwrap --bind /mnt /new --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin sh -c 'ls /new; cat /new/f; cd /new; echo z >z; pwd'; echo $?; ls
        unshare -rm --propagation private sh -c 'cd /mnt/sub; pwd; mount --bind /mnt/a /mnt/b; touch /mnt/b/inb; ls /mnt/a; mountpoint /mnt; umount /mnt/b; ls /mnt/b; bwrap --bind / / sh -c "cat /mnt/f; unshare -m sh -c \"cat /mnt/f; pwd\""'
        python3 -IS - <<'E'
import ctypes, os, threading
libc = ctypes.CDLL(None, use_errno=True)
def own():
    assert libc.unshare(0x20000 | 0x200) in (0, -1)
    print(open("/mnt/f").read(), os.getcwd())
if os.getuid() == 0:
    t = threading.Thread(target=own); t.start(); t.join()
print(open("/mnt/f").read(), os.getcwd(), len(open("/proc/self/mountinfo").read()) > 10)
E
    """,
        leaves=True,
    ),
    "mount as root": Case(
        """
        unshare -m --propagation private sh <<'E'
mkdir t b; mount -t tmpfs -o size=1M,mode=751 none t; stat -c %a t; echo x >t/f; ls t; df --output=fstype t | tail -1; mount --bind t b; cat b/f; mount -o remount,ro,bind b; echo y >b/g; mkdir b/d; rm b/f; touch b/f; mountpoint b; cd b; /bin/pwd; cd ..; umount b; ls b; grep -c ' /mnt/t ' /proc/self/mountinfo; head -c 2000000 /dev/zero >t/big; echo $?; rm t/big; mv t/f .; cat f; ln f t/f; echo $?; umount t; umount t; echo $?; mount missing t; echo $?; mount -t tmpfs none missing; echo $?; mkdir lower upper work m; echo low >lower/l; mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none m && { cat m/l; echo up >m/u; rm m/l; ls m upper; umount m; }; findmnt -n t; echo $?; mount -t proc proc m; cat m/self/comm; umount m; mount -t tmpfs none m; mount --move m t 2>&1; echo z >t/z; ls t m; umount t
E
        rm -rf work upper
    """,
        users=(0,),
        leaves=True,
    ),
    "names from outside of a root": Case(
        r"""
        python3 -IS - <<'E'
import os
os.mkdir("r"); proc = os.open("/proc", os.O_RDONLY); out = os.open(".", os.O_RDONLY)
def reads(name): return os.readlink("self/" + name, dir_fd=proc)
os.chroot("r"); made = os.open("/made", os.O_CREAT)
print(reads(f"fd/{made}"), reads("root"), reads(f"fd/{out}"), reads("cwd"))
os.mkdir("/sub"); os.chdir("/sub"); print(reads("cwd"), os.getcwd())
for name in ("mountinfo", "mounts", "mountstats"): print(os.read(os.open("self/" + name, 0, dir_fd=proc), 100))
E
        """,
        users=(0,),
    ),
    "setpriv, su, capsh": Case(
        """
        chmod 711 .; echo x >f; chmod 600 f; setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'id -u; cat f; echo y >f; mkdir d; ls; cd /; cat /mnt/f; cat /etc/hostname >/dev/null; ln /mnt/f /tmp/viewos-no; rm /mnt/f'; mkdir -m 777 w; setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'umask 027; echo z >w/z; mkdir w/d; ln -s x w/l; mkfifo w/p; cp /bin/true w/t; w/t; cd w/d; pwd; ls -n ..| wc -l; chmod 600 ../z; chown 0 ../z; cat ../z; setpriv --reuid=0 id -u'; echo $?; su -s /bin/sh nobody -c 'id -un; cat /mnt/f; touch /mnt/w/su; pwd'; setpriv --bounding-set=-all --inh-caps=-all sh -c 'cat /mnt/f; chown 1 /mnt/f; touch /etc/none/x' ; setpriv --no-new-privs sh -c 'grep NoNew /proc/self/status; cat /mnt/f'; setpriv --reuid=1 --init-groups id -un; cp /usr/bin/id i; chmod 4755 i; chown 1 i; chmod 4755 i; ./i -u; setpriv --reuid=65534 --clear-groups ./i -u; setpriv --groups=5 --regid=5 sh -c 'chgrp 5 w/z; chmod 2750 w/z'; stat -c '%a %u %g' w/z; setpriv --ruid=65534 cat f; setpriv --ruid=65534 test -r f; echo $?; python3 -IS -c 'import os; os.seteuid(65534); print(os.access("f", 4), os.access("f", 4, effective_ids=True)); os.mkdir("w/e"); print(os.stat("w/e").st_uid); os.seteuid(0); print(open("f").read()); import ctypes; ctypes.CDLL(None).setfsuid(65534); os.mkdir("w/fs"); print(os.stat("w/fs").st_uid)
try: open("f")
except OSError as e: print(e)'
    """,
        users=(0,),
    ),
}
