"""Programs of daily life, run natively and in views, by what they print and how they end.

python -m tests.interop.programs [NAME...]
"""
