"""Widgets of the book: live in JupyterLab, and on its pages without a kernel and a network."""
