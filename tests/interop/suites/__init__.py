"""Other people's test suites, run natively and in views: can they tell a view from the real thing?

    python -m tests.interop.suites [SUITE...] [--subset] [--json FILE] [--user root|nobody] ...

The suites themselves are no part of viewos. Their sources are found in $VIEWOS_SUITES (default
../shared/suites/src from the project's root), they are built below $VIEWOS_SUITES_BUILD, and one
that cannot be had here is named as not run.
"""
