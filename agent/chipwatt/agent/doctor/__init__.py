"""Explains which power interfaces a host has, what is missing and what would grant it."""
