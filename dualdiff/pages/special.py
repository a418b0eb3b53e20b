"""Tables that no table of scores gives."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch

from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.profiles import Profile
from dualdiff.networks import MLP


def recipes(networks: Mapping[str, MLP], size: Profile) -> pd.DataFrame:
    """Every value of the recipes, for whoever wants to build the same: a column per recipe.

    Parameters
    ----------
    networks : dict
        The general network of each recipe, by its name in
        :data:`dualdiff.experiments.members.RECIPES`.
    size : Profile
    """
    columns = {}
    for name, network in networks.items():
        recipe, shape, process = RECIPES[name], network.architecture, network.process
        how, beta = recipe.optimisation, process.beta
        snr = torch.logit(process.alpha_bar.double())
        layers = [p.shape[1] for p in network.parameters() if p.ndim == 2]
        decay = {"step": "times 0.9 every 10 epochs", "cosine": "half a cosine to zero"}
        columns[f"recipe {name}"] = {
            "steps T": f"{process.steps}",
            "betas, from clean to noisy": f"{beta[0]:.3g} .. {beta[-1]:.3g}"
            + " (linear)" * (recipe.schedule == "linear"),
            "log-SNR, from clean to noisy": f"{snr[0]:.3g} .. {snr[-1]:.3g}"
            + " (linear)" * (recipe.schedule == "log_snr"),
            "units of targets and conditions": "standardised" if recipe.standardised else "raw",
            "layers": "-".join(map(str, (*layers, process.dy))),
            "weights": f"{sum(p.numel() for p in network.parameters()):,}",
            "activation": {"relu": "ReLU", "silu": "SiLU"}[shape.activation],
            "time at the input": shape.time,
            "sees the condition as": "frame of the object" if shape.object_frame else "numbers",
            "Fourier octaves": f"{shape.fourier}",
            "preconditioned": "yes" if shape.preconditioned else "no",
            "first weights": {"uniform": "PyTorch's own", "kaiming": "He et al."}[shape.init],
            "optimiser": {"adam": "Adam", "adamw": "AdamW"}[how.optimiser],
            "learning rate": f"{how.learning_rate:g}, {decay[how.decay]}",
            "average of the weights": f"over {how.ema:.0%} of the run" if how.ema else "none",
            "batch (general; specialised, fine-tuned)": f"{recipe.general_batch:,}; "
            f"{recipe.specialised_batch}",
            "epochs (general; specialised; fine-tuned)": f"{size.general_epochs}; "
            f"{size.specialised_epochs:,}; {size.finetune_epochs}",
        }
    return pd.DataFrame(columns)
