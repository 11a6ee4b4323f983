"""Programs that use viewos as a library: each `check_` function runs in a process of its own.

python -m tests.system.library FILE FUNCTION
"""
