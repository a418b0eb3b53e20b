"""dualdiff: sampling from a general and a specialised diffusion model at once."""

__version__ = "0.1.0"
