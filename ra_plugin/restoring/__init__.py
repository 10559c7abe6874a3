"""Restoring of folders of photographs with a trained network: files in, files out, with what belongs to them."""
