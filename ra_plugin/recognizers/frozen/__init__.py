"""Running a frozen network: folded batch norm, gradient checkpointing, shared resizing, hidden parameters."""
