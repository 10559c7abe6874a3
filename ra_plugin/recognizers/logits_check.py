"""A check that the answers of a classifier are logits."""
import torch


def check_logits(answers: torch.Tensor, where: str) -> None:
    """Check that a classifier's answers ``(N, C)`` can be logits; the loss of embeddings or probabilities is near zero.

    Raises:
        ValueError: Each vector has length 1, as embeddings have, or holds probabilities.
    """
    rows = answers.detach().double()
    if rows.dim() != 2 or rows.shape[1] < 2:
        return
    if (rows.norm(dim=1) - 1).abs().max() < 1e-5:
        raise ValueError(f'{where}: expected logits, got vectors of length 1: an embedding. Give the recognizer the '
                         'head that classifies, or use RecogFeatureLoss, which compares features.')
    if rows.min() >= 0 and (rows.sum(1) - 1).abs().max() < 1e-3:
        raise ValueError(f'{where}: expected logits, got probabilities. Let the network return what its last softmax '
                         'is given.')
