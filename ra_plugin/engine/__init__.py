"""Runs: option files in, trained networks and scores out, on BasicSR's builders."""
