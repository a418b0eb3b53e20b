"""Tables of one's own in the place of a scenario: read, compared, and models kept for use."""

from dualdiff import submodules

__getattr__ = submodules(__name__)
