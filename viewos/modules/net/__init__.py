"""net: which addresses a program reaches, and where they lead."""

from viewos.modules.net.module import Net

__all__ = ["Net"]
