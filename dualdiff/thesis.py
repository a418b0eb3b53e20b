"""The thesis's own results, to stand beside ours."""

from __future__ import annotations

import pandas as pd

# Tables 4.1 and 4.3 of the thesis (mean of three runs): average accuracy, average distance of the
# samples that miss to the condition point.
_TABLES = {
    "cabinet": {
        "general": (0.0835, 0.6656),
        "specialised": (0.0932, 1.0521),
        "finetuned": (0.4874, 0.4139),
        "joint": (0.3464, 0.4138),
        "finetuned_joint": (0.6516, 0.3852),
    },
    "round_table": {
        "general": (0.0904, 10.6076),
        "specialised": (0.0386, 17.7673),
        "finetuned": (0.3624, 10.2100),
        "joint": (0.6653, 8.0266),
        "finetuned_joint": (0.2482, 10.2289),
    },
}


def thesis_table(scenario: str) -> pd.DataFrame:
    """Accuracy and miss distance by configuration, as the thesis prints them.

    Raises
    ------
    ValueError
        If the thesis has no table for ``scenario``.
    """
    if scenario not in _TABLES:
        raise ValueError(f"the thesis has tables for {', '.join(_TABLES)}, not {scenario!r}")
    return pd.DataFrame.from_dict(
        _TABLES[scenario], orient="index", columns=["accuracy", "miss_distance"]
    ).rename_axis("configuration")
