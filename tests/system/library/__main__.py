"""Run one check in a fresh directory; a failed assertion is the traceback of this process."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings

if __name__ == "__main__":
    warnings.simplefilter("error")
    # Forks beside threads are what some checks are about; Python 3.12 warns of them.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    _, file, name = sys.argv
    with tempfile.TemporaryDirectory(prefix="viewos-library-") as directory:
        os.chdir(directory)
        getattr(importlib.import_module(f"tests.system.library.{file}"), name)()
        os.chdir("/")
