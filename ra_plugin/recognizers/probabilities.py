"""Networks that end in a softmax: their probabilities as logits."""
import torch

from ra_plugin.recognizers.networks import widened


def as_logits(probabilities: torch.Tensor) -> torch.Tensor:
    """Return logits, of 32 bits or more, whose softmax gives these probabilities: their logarithm.

    It is finite for a probability of 0, which has no gradient. Any other has one: a limit above the least number that
    divides 1 would cut it off where a network is sure of something else, which is what a loss is to change.
    """
    probabilities = widened(probabilities)
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
