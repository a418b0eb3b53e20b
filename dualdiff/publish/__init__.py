"""From notebooks to a book: command line, runs, sweeps, pages."""

from dualdiff import submodules

__getattr__ = submodules(__name__)
