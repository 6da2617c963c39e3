"""What the launchers run, as a file: compiled anew at every start, so it is only this much."""

import os
import sys

sys.dont_write_bytecode = True  # boot decides whose tree this is
sys.path.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from onggi.boot import boot  # noqa: E402 - the line above says where onggi is

boot()
