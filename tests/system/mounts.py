"""mount(2) and umount2(2) for the Python programs of tests."""

CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind=None, flags=0, data=None):
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), data):
        return errno.errorcode[ctypes.get_errno()]
    return "done"
def umount(target, flags=0):
    return errno.errorcode[ctypes.get_errno()] if libc.umount2(target, flags) else "done"
"""
"""Each gives "done", or the name of the errno."""
