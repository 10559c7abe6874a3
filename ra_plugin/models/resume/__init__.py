"""Training states: writer and reader, which share the key `ra_plugin.checkpoint.OWN_KEY`."""
