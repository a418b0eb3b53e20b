"""The committed tables: which trials make them, how they are made, checked and confirmed."""

from dualdiff import submodules

__getattr__ = submodules(__name__)
