"""The command line: one file a command. `options` is what they have in common."""
