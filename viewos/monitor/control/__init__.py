"""The monitor's part of the control plane.

server     the socket
talk       conversations: over the socket, on anyio, and with processes of a view
methods    what can be asked: the table of methods, with their parameters
about      views, modules and processes as others see them
entering   a program from outside becomes one of a view
"""
