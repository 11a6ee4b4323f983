"""Servers of the tests' own on ports that the kernel chooses, and programs that reach them."""
