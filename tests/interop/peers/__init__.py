"""Programs behind a proxy, and servers with a loopback interface of their own, under each tool that
promises it:

    python -m tests.interop.peers [PROGRAM...] [--tool NAME]... [--json FILE] [--write-docs]

A capture says whether a question for a name left (which takes root). graftcp is in no package: name
the directory of its `graftcp` and `graftcp-local` in VIEWOS_PEER_GRAFTCP.
"""
