"""Export of a trained network to files of other programs, checked against PyTorch, with a model card."""
