"""The kernel's interface as data: numbers, structures, flags, the table of system calls."""
