"""A process beside a program that does for the monitor what only it may, or had better do.

fixups   a fix-up, asked for by the monitor and done there
looks    memory and descriptors of a program, where the monitor itself may not look
wire     messages between the two
"""
