"""An engine on the other side of Docker's API: the same calls as `engine`, for the command line.

Knows docker's JSON as a client reads it. What it cannot do raises Unsupported; it never falls back
to the engine of this machine.
"""
