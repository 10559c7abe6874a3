"""The demonstration on CIFAR-10, and the training of its recognizers."""
