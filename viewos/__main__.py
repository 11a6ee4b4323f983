"""python -m viewos."""

import sys

from viewos.cli.main import main

sys.exit(main())
