"""Labs: their making, the marking of what is handed in, the competition."""

from dualdiff import submodules

__getattr__ = submodules(__name__)
