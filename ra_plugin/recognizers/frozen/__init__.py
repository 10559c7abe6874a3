"""How a frozen network is run: folded, checkpointed, resized once for several, and out of torch's sight."""
