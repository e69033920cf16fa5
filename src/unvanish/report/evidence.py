"""The numbers behind a finding or an alarm, each with its name in words.

Records, and their JSON, carry identifiers (``decades_per_layer``); people read what this table says.
"""

from collections.abc import Mapping

from unvanish.languages import figure, marked
from unvanish.languages import gettext as _

EXACT = 2.0**53
"""Above this a float does not count any more."""

WORDS = {
    "activation_decades": marked("part of activations, decades"),
    "activation_decades_per_layer": marked("part of activations, decades a layer"),
    "activations": marked("activations concerned"),
    "back_log10": marked("gradient times weight of the last layers, log10"),
    "backwards": marked("backward passes a step"),
    "because_onset": marked("step at which the cause began"),
    "better": marked("how many times as fast the loss falls then"),
    "better_final": marked("loss at last with a better step size"),
    "better_rate": marked("better step size, times the present one"),
    "classes": marked("classes"),
    "cosine": marked("mean cosine between samples at the end"),
    "cosine_first": marked("mean cosine between samples at first"),
    "could_fall": marked("fall of the loss with less clipping"),
    "count": marked("bad values"),
    "critical_decades_per_layer": marked("decades a layer at the right scale"),
    "dead": marked("tensors with a gradient of zero"),
    "dead_share": marked("share of dead units"),
    "dead_units": marked("dead units"),
    "decades": marked("decades in all"),
    "decades_per_layer": marked("decades a layer"),
    "decades_per_step": marked("decades a time step"),
    "derivative_rms": marked("slope of the activation, rms"),
    "descent_cosine": marked("cosine between step and descent"),
    "directions": marked("directions in which samples differ at the end"),
    "directions_first": marked("directions in which samples differ at first"),
    "directions_needed": marked("directions that the task needs"),
    "divided": marked("the gradient is divided by"),
    "elasticity_decades": marked("change of gradient times weight, decades"),
    "elements": marked("entries"),
    "equal_size_decades": marked("decades with branches as large as the skip"),
    "factor": marked("the loss was multiplied by"),
    "factor_per_layer": marked("factor of a layer"),
    "factor_per_step": marked("factor of a time step"),
    "far_norm": marked("gradient at the farthest time step"),
    "fell": marked("fall of the loss"),
    "fell_averaged": marked("fall of the loss with averaged gradients"),
    "final": marked("loss at last"),
    "front_log10": marked("gradient times weight of the first layers, log10"),
    "gradient_decades": marked("change of the gradient, decades"),
    "gradient_factor": marked("gradient, times its usual size"),
    "gradient_step": marked("step of the large gradient"),
    "groups": marked("parameter groups of the optimizer"),
    "growth": marked("growth of the gradient, times"),
    "half_life": marked("steps until half of the weights is gone"),
    "high": marked("largest possible output"),
    "initial": marked("loss at first"),
    "input_max": marked("largest input"),
    "input_mean": marked("mean input"),
    "input_min": marked("smallest input"),
    "input_rms": marked("inputs, rms"),
    "input_zeros": marked("inputs that are exactly zero"),
    "kept": marked("share of the gradient that arrived"),
    "largest_norm": marked("largest gradient over time"),
    "layers": marked("layers"),
    "learning_rate": marked("learning rate"),
    "learning_rate_factor": marked("the learning rate was multiplied by"),
    "learning_rate_step": marked("step of the change of learning rate"),
    "limit": marked("limit of clipping"),
    "loss": marked("loss"),
    "loss_deviations": marked("loss above its median, deviations"),
    "loss_scale_factor": marked("the loss scale was multiplied by"),
    "loss_scale_step": marked("step of the change of loss scale"),
    "loss_spike_step": marked("step of the spike of the loss"),
    "loss_term": marked("term of the loss"),
    "loss_terms": marked("terms of the loss in all"),
    "lost_factor": marked("how many times the weights became smaller"),
    "lost_steps": marked("time steps below rounding error"),
    "low": marked("smallest possible output"),
    "missed": marked("share of what is to be learnt that is out of reach"),
    "moved": marked("movement of the weights in a step"),
    "norm": marked("gradient norm"),
    "norm_decades": marked("part of normalisation, decades"),
    "norm_decades_per_layer": marked("part of normalisation, decades a layer"),
    "of": marked("tensors with a gradient"),
    "off_decades": marked("decades off the right scale"),
    "off_decades_per_layer": marked("decades off the right scale, a layer"),
    "off_factor": marked("weights of a layer, times the right scale"),
    "onset": marked("step at which it began"),
    "output_rms": marked("outputs, rms"),
    "pairs": marked("places"),
    "parameters": marked("parameter tensors"),
    "passed": marked("share that the skip passes on"),
    "radial_share": marked("share of the step that shrinks the weights"),
    "reached": marked("tensors that the gradient reaches"),
    "real_limit": marked("real limit of clipping"),
    "residual_decades": marked("part of blocks with a skip, decades"),
    "residual_decades_per_layer": marked("part of blocks with a skip, decades a layer"),
    "resolution": marked("smallest relative change that is not lost"),
    "rest_decades": marked("part of the rest, decades"),
    "rest_decades_per_layer": marked("part of the rest, decades a layer"),
    "rows": marked("rows"),
    "samples": marked("samples"),
    "saturated_share": marked("share of saturated units"),
    "scale": marked("loss scale"),
    "scale_before": marked("loss scale before"),
    "seen_p": marked("p on samples seen"),
    "share": marked("share of the steps"),
    "share_of_chance": marked("loss, as a share of a guess"),
    "shrink": marked("shrinking by weight decay in a step"),
    "signal_decades": marked("change of the signal, decades"),
    "singular_value_spread": marked("spread of the singular values"),
    "skip_decades": marked("decades lost by the skip"),
    "skipped": marked("share of skipped steps"),
    "skips": marked("skipped steps"),
    "slope_high": marked("slope over depth or time, upper bound"),
    "slope_low": marked("slope over depth or time, lower bound"),
    "smallest": marked("smallest entry other than zero"),
    "steps": marked("steps"),
    "steps_needed": marked("steps to change a weight by its own size"),
    "straight": marked("modules of straight pieces"),
    "sublayers": marked("residual sums in a row"),
    "target_high": marked("largest target"),
    "target_low": marked("smallest target"),
    "target_rms": marked("targets, rms"),
    "tensors": marked("tensors"),
    "times": marked("weight decay to gradient"),
    "trainable": marked("trainable tensors"),
    "trainable_depth": marked("depth that could train, layers"),
    "units": marked("units"),
    "unseen_p": marked("p on samples not seen"),
    "untouched": marked("rows that were not looked up"),
    "update_decades": marked("decades between the updates"),
    "update_to_weight": marked("update to weight"),
    "weight_decades": marked("part of weights, decades"),
    "weight_decades_per_layer": marked("part of weights, decades a layer"),
    "weight_rms": marked("weights, rms"),
    "weights": marked("weight tensors"),
    "whole_model": marked("whole model (1: yes)"),
    "zero_share": marked("share of exact zeros"),
    "zeros": marked("exact zeros"),
    "zeros_share": marked("share of exact zeros"),
}
"""What each number of any cause or alarm is called. One name means the same wherever it is given."""


def numbers(evidence: Mapping[str, float]) -> list[tuple[str, str]]:
    """Names and figures in the language of the moment, in the order of the record."""
    return [(_word(name), _figure(value)) for name, value in evidence.items()]


def _word(name: str) -> str:
    # A record of another version may have numbers that this table does not know.
    return _(WORDS[name]) if name in WORDS else name.replace("_", " ")


def _figure(value: float) -> str:
    """A count in full (a step is no rounded number), anything else with four digits."""
    counted = float(value).is_integer() and abs(value) < EXACT
    return figure(value, ",.0f" if counted else ",.4g")
