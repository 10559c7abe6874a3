"""Training states: the writer, the reader, and what both agree on (`ra_plugin.checkpoint.OWN_KEY`)."""
