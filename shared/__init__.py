"""Plumbing and contracts of the three services; knows no service."""
