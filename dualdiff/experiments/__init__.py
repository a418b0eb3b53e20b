"""Studies: members trained and kept, trials, and the tables that they make."""

from dualdiff import submodules

__getattr__ = submodules(__name__)
