#!/bin/sh
# The first process of the machine; boot.py fills in the words between at signs.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS1 2>&1
while read -r module; do insmod "/modules/$module" || echo "insmod $module: $?"; done </modules/order
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 root /lower
mount -t tmpfs memory /upper
mkdir /upper/made /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/made,workdir=/upper/work overlay /new || exit
mount --bind /new@REPOSITORY@ /kept
mount -t tmpfs -o mode=1777 tmp /new/tmp
mkdir -p /new@REPOSITORY@
mount --move /kept /new@REPOSITORY@
for name in proc sys dev; do mount --move /$name /new/$name; done
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
mount -t tmpfs -o mode=1777 shm /new/dev/shm
mount -t tmpfs run /new/run
mount -t securityfs security /new/sys/kernel/security
ln -s /proc/self/fd /new/dev/fd
ip link set lo up
cat >/new/run/command <<'END'
@SETTINGS@
cd '@REPOSITORY@'
@COMMAND@
echo "status $?"
echo o >/proc/sysrq-trigger
while :; do :; done
END
exec switch_root /new /bin/sh /run/command
