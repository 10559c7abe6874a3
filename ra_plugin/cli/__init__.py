"""What the programs share before they import ``ra_plugin``, which takes seconds."""
