"""The control plane, but for the monitor's own part: where the sockets are, what is said over them.

places     the directory of sockets, and who may have made it
message    one line of JSON-RPC 2.0 each way
client     ask a monitor; find the view that a word names
nested     `viewos run` in a view: the program itself, and nothing else
"""

NAME = "a name is at most 64 characters that can be printed"


def is_name(text: str) -> bool:
    """May a view be called so? "" is what those without a name have."""
    return text.isprintable() and len(text) <= 64
