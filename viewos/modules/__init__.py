"""The built-in modules, one file each. They use the public names of `viewos` alone."""
