"""Classifiers behind a program or a service that gives answers alone."""
