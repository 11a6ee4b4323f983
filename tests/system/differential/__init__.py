"""A runner that compares programs in views with their native twins, and what it is fed."""
