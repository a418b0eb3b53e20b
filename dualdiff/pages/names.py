"""The one registry of names: what a key of a tidy table is called, and how it is drawn.

Keys are values of the columns ``configuration``, ``metric`` and ``scenario``, and columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.rules import RULES


class Configuration(NamedTuple):
    """What is sampled from: its label, and its colour and marker on every page."""

    label: str
    colour: str
    marker: str


class Score(NamedTuple):
    """What is measured: its label, its unit, and whether less is better."""

    label: str
    unit: str = ""
    lower: bool = False


# Okabe and Ito's colour-blind-safe palette first, then colours that differ in lightness.
CONFIGURATIONS = {
    "general": Configuration("general", "#0072B2", "o"),
    "specialised": Configuration("specialised", "#D55E00", "s"),
    "finetuned": Configuration("fine-tuned", "#E69F00", "^"),
    "joint": Configuration("joint", "#009E73", "D"),
    "finetuned_joint": Configuration("fine-tuned joint", "#CC79A7", "P"),
    "lora": Configuration("LoRA", "#56B4E9", "v"),
    "lora_joint": Configuration("LoRA joint", "#882255", "X"),
    "replay": Configuration("prior preservation, replayed", "#8C6D1F", "<"),
    "generated": Configuration("prior preservation, generated", "#888888", ">"),
    "truth": Configuration("truth", "#333333", "x"),
    "sum": Configuration("joint", "#009E73", "D"),
    "narrow": Configuration("joint, start N(0, I/2)", "#009E73", "d"),
    "smc": Configuration("joint, SMC", "#332288", "d"),
    "rne": Configuration("joint, SMC with RNE weights", "#332288", "s"),
    "smc_mala": Configuration("joint, SMC and MALA", "#AA4499", "P"),
    "ula": Configuration("joint, ULA", "#CC6677", "v"),
    "mala": Configuration("joint, MALA", "#CC6677", "^"),
    "hmc": Configuration("joint, HMC", "#CC6677", "<"),
    "amdm": Configuration("AMDM", "#888888", "X"),
    "superdiff_and": Configuration("SuperDiff AND", "#888888", "h"),
    "superdiff_or": Configuration("SuperDiff OR", "#888888", "*"),
    "second_order": Configuration("second-order sum", "#6B6B00", "H"),
    "finetuned_smc": Configuration("fine-tuned joint, SMC", "#5E35B1", "p"),
    "weighted": Configuration("learned weights", "#8BC34A", "h"),
    "finetuned_weighted": Configuration("fine-tuned, learned weights", "#7B1E1E", "*"),
    "told": Configuration("fine-tuned, told the type", "#FF8A80", "H"),
    "guided": Configuration("guided by task", "#00C5D4", "8"),
    "oracle": Configuration("oracle draw", "#000000", "+"),
    "data": Configuration("test rows' own targets", "#666666", "|"),
    "uniform": Configuration("uniform draw", "#B8B8B8", "1"),
    "stacked": Configuration("stacked", "#999933", "v"),
    "resampled": Configuration("resampled", "#666666", "*"),
    "learned": Configuration("learned", "#332288", "h"),
    "average": Configuration("average", "#882255", "p"),
    "neighbours": Configuration("neighbours", "#BBBB00", "<"),
    "neighbours_all": Configuration("neighbours, both tables", "#BBBB00", ">"),
    "boosted": Configuration("boosted quantiles", "#8C6D1F", "p"),
    "boosted_all": Configuration("boosted quantiles, both tables", "#8C6D1F", "h"),
    "flow": Configuration("flow", "#56B4E9", "p"),
    "flow_finetuned": Configuration("flow, fine-tuned", "#56B4E9", "^"),
    "kernel": Configuration("kernel estimate", "#8C6D1F", "o"),
    "gaussians": Configuration("Gaussian mixture", "#BBBB00", "d"),
    "splines": Configuration("spline flow", "#56B4E9", "X"),
    "outline": Configuration("outline", "#000000", "D"),
    "kernel_joint": Configuration("kernel joint", "#8C6D1F", "P"),
    "kernel_smc": Configuration("kernel joint, SMC", "#8C6D1F", "d"),
    "kernel_average": Configuration("kernel and network, average", "#8C6D1F", "^"),
    "ensemble": Configuration("ensemble of 4", "#D55E00", "8"),
    "ensemble_eighth": Configuration("ensemble, 1/8 general", "#009E73", "8"),
    "ensemble_smc": Configuration("ensemble, 1/8 general, SMC", "#332288", "8"),
    "stopped": Configuration("specialised, stopped early", "#D55E00", "v"),
    "gauss": Configuration("second order, GAUSS", "#6B6B00", "o"),
    "jac": Configuration("second order, JAC", "#6B6B00", "s"),
    "concept": Configuration("concept-centric guidance", "#44AA99", "8"),
    "wide": Configuration("network twice as wide", "#D55E00", "D"),
    "ewc": Configuration("EWC", "#999933", "P"),
    "taught": Configuration("taught by the sum", "#44AA99", "P"),
    "taught_smc": Configuration("taught by SMC", "#332288", "<"),
    "everything": Configuration("everything at once", "#333333", "o"),
    "specialists": Configuration("specialists", "#D55E00", "X"),
    "joint_smc": Configuration("specialists joint, SMC", "#332288", "X"),
    "chosen_density": Configuration("chosen by density", "#AA4499", "o"),
    "chosen_score": Configuration("chosen by score", "#AA4499", "X"),
    "alone": Configuration("specialist alone", "#D55E00", "p"),
    "eighth": Configuration("general with weight 1/8", "#8BC34A", "D"),
    "learned constant": Configuration("learned constant", "#332288", "o"),
    "learned curve": Configuration("learned curve", "#332288", "P"),
    "finetuned: learned constant": Configuration("fine-tuned, learned constant", "#E69F00", "o"),
    "finetuned: learned smc": Configuration("fine-tuned, learned SMC", "#E69F00", "s"),
    "oracle constant": Configuration("oracle constant", "#333333", "X"),
    "oracle curve": Configuration("oracle curve", "#333333", "+"),
    "finetuned: oracle smc": Configuration("fine-tuned, oracle SMC", "#333333", "1"),
    "spherical": Configuration("spherical", "#44AA99", "o"),
    "linear": Configuration("linear", "#999933", "^"),
    "variance_preserving": Configuration("variance preserving", "#AA4499", "s"),
    "class": Configuration("told the class", "#0072B2", "s"),
    "style": Configuration("told the style", "#D55E00", "^"),
    "and": Configuration("AND", "#CC6677", "8"),
    "adapter": Configuration("Video Adapter", "#882255", "h"),
    "copies": Configuration("the same image", "#888888", "p"),
    "characters": Configuration("one character", "#0072B2", "P"),
    "pages": Configuration("one page", "#D55E00", "d"),
    "filtered": Configuration("one page, filtered", "#009E73", "o"),
    "context": Configuration("told its images", "#44AA99", "D"),
    "kriging": Configuration("kriging", "#8C6D1F", "s"),
    "observed": Configuration("network and observations", "#0072B2", "^"),
    "equation": Configuration("with the equation", "#D55E00", "<"),
    "posterior": Configuration("exact posterior", "#333333", "s"),
    "distilled": Configuration("distilled strokes", "#009E73", "p"),
    "jacobian": Configuration("strokes, with the Jacobian", "#CC6677", "s"),
    "samples": Configuration("samples", "#0072B2", "h"),
    "latents": Configuration("latents of an autoencoder", "#D55E00", "o"),
    "components": Configuration("principal components", "#0072B2", "X"),
    "pixels": Configuration("pixels", "#888888", "s"),
    "noise": Configuration("told with noise", "#D55E00", "P"),
    "blur": Configuration("told blurred", "#0072B2", "v"),
    "single": Configuration("one network", "#333333", "D"),
    "longer": Configuration("one network, three times the rows", "#333333", "^"),
    "replaced": Configuration("replaced", "#888888", "v"),
    "repaint": Configuration("RePaint", "#E69F00", "D"),
    "energy": Configuration("energy", "#009E73", "s"),
    "twisted": Configuration("twisted SMC", "#332288", "^"),
    "noised": Configuration("noised and denoised", "#0072B2", "8"),
    "fresh": Configuration("from fresh noise", "#333333", "8"),
    "words": Configuration("along two words", "#D55E00", "H"),
    "ddpm": Configuration("ancestral", "#0072B2", "D"),
    "ddim": Configuration("DDIM", "#999933", "s"),
    "dpm++": Configuration("DPM-Solver++", "#882255", "^"),
}
"""What is drawn in the colour of a model or of a way to combine models."""
OTHERS = ("o", "^", "s", "v", "P", "X", "p", "8", ">", "H", "d", "<", "*")
"""Markers of methods and rules that have no colour of their own, in the order of their registry."""

SCORES = {
    "accuracy": Score("accuracy"),
    "total_variation": Score("total variation", lower=True),
    "total_variation_floor": Score("floor of TV", lower=True),
    "energy_distance": Score("energy distance", "units of y", lower=True),
    "energy_score": Score("energy score", lower=True),
    "minus_specialised": Score("score minus specialised", lower=True),
    "minus_resampled": Score("score minus resampled", lower=True),
    "minus_best": Score("score minus best", lower=True),
    "forgetting": Score("forgetting: TV to the general distribution", lower=True),
    "precision": Score("precision"),
    "recall": Score("recall"),
    "density": Score("density"),
    "coverage": Score("coverage"),
    "miss_distance": Score("distance of misses to c", "units of y", lower=True),
    "centre_distance": Score("distance of misses to the centre", "units of y", lower=True),
    "support_distance": Score("distance to support", "units of y", lower=True),
    "frechet_distance": Score("Fréchet distance", "units of y", lower=True),
    "memorisation": Score("memorisation", lower=True),
    "control": Score("read as asked"),
    "concept": Score("told as the style"),
    "frechet": Score("Fréchet distance", lower=True),
    "nearest": Score("distance to the nearest learned image"),
    "variety": Score("distance between samples of one image"),
    "relative": Score("relative error", lower=True),
    "error": Score("error per pixel", lower=True),
    "kept": Score("error of known pixels", lower=True),
    "spread": Score("difference of two results, per pixel"),
    "ends": Score("read as one of both ends"),
    "calls": Score("network calls per sample", lower=True),
    "unique": Score("share of different samples"),
    "effective": Score("effective share of a group"),
    "success": Score("success rate"),
    "geometry": Score("success without other objects"),
    "collision": Score("collision rate", lower=True),
    "out_of_reach": Score("out of reach", lower=True),
}
"""What a table measures, in the order in which tables show it."""

WORDS = {
    "printed": "thesis (printed)",
    "plain": "ours, plain",
    "tuned": "ours, tuned",
    "exact": "exact members",
    "cabinet": "cabinet",
    "round_table": "round table",
    "boxes": "half-shared boxes",
    "ring_and_bar": "ring and bar",
    "own": "your rule",
    "n_specialised": "pairs",
    "finetune_epochs": "epochs",
    "effective_share": "effective share of the weights",
    "log_weight": "mean log weight",
    "energy_distance_gain": "energy distance gained",
    "accuracy_gain": "accuracy gained",
}
"""Scenarios, columns: what is neither drawn nor measured."""


def label(key: Any) -> str:
    """A key of a table in words; one that no registry knows, with spaces for underscores."""
    if key in CONFIGURATIONS:
        return CONFIGURATIONS[key].label
    if key in SCORES:
        return SCORES[key].label
    for registry in ({**RULES}, {**METHODS}):
        if key in registry:
            title = registry[key].title
            alone = sum(one.title == title for one in registry.values()) == 1
            return title if alone else f"{title} ({key})"
    return WORDS.get(key, str(key).replace("_", " "))


def axis(metric: str) -> str:
    """A metric as the label of an axis, with its unit."""
    known = SCORES.get(metric, Score(label(metric)))
    return f"{known.label} ({known.unit})" if known.unit else known.label


def lower(metric: str) -> bool:
    """Whether less of a metric is better."""
    return metric in SCORES and SCORES[metric].lower


def style(name: str) -> dict[str, Any]:
    """Colour and marker of a configuration, for matplotlib; dark grey for one that is not known.

    Methods and rules that only their own registry knows differ by their markers.
    """
    others = [key for key in {**METHODS, **RULES} if key not in CONFIGURATIONS]
    marker = OTHERS[others.index(name) % len(OTHERS)] if name in others else "x"
    known = CONFIGURATIONS.get(name, CONFIGURATIONS["truth"]._replace(marker=marker))
    return {"color": known.colour, "marker": known.marker}
