"""Tests on another kernel: a virtual machine with this machine's files, which writes none of them.

    python -m tests.interop.guest --package linux-image-amd64 -- pytest tests/system/test_labels.py

boots a kernel of Debian's archive in qemu, with the root directory of this machine below an
overlay in memory, and runs the command in the repository there, as root. What it prints comes here,
and its status is that of this command. Debian's kernels have AppArmor and Yama, which the kernel of
this machine may not have. Needs root, the packages qemu-system-x86, busybox-static and cpio, and
3 GB of memory.
"""
