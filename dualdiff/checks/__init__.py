"""The laws of this house, for regions, denoisers, samplers and rules of one's own.

``check(what, generator)`` runs every law once and gives a :class:`Report`, a sentence per law and
what was seen. All randomness comes from the ``generator``. A law that is broken, or ends in an
error, is a finding; a ``ValueError`` is raised for what is not of the kind that is checked, and by
:meth:`Report.raise_if_failed`. Laws of chance allow for five standard errors of that run, or a
chi-square of probability 1e-6: one that holds fails about once in a million runs.
"""

from dualdiff.checks.denoisers import check_denoiser
from dualdiff.checks.regions import check_region
from dualdiff.checks.report import Finding, Report
from dualdiff.checks.rules import check_rule
from dualdiff.checks.samplers import check_sampler

__all__ = [
    "Finding",
    "Report",
    "check_denoiser",
    "check_region",
    "check_rule",
    "check_sampler",
]
