"""What runs in programs (code.c)."""

def code() -> tuple[bytes, int]:
    """(the instructions, where among them a call enters)."""

def find(shared: bytes, path: bytes, kind: int, writes: bool) -> bytes | None:
    """The path for the kernel, if no symbolic link is in it; None: not sure."""

def vouched(path: bytes, follows: bool) -> tuple[bool, bool]:
    """Is no link in it, or surely nothing there: by its names one by one, and by an open?"""

def opened(path: str) -> int | None:
    """A descriptor for reading, or a negative errno; None: not sure."""
