"""The recognition losses within training programs other than BasicSR's; see docs/HOSTS.md."""
