"""Demo on CIFAR-10, and training of its recognizers."""
