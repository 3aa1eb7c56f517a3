"""The subcommands of ``osvl``, one module a command: ``add`` puts its options into the parser.

A module imports what it needs when its command runs, so that ``osvl --help`` answers at once and works without verl.
"""
