"""Whose energy: what each chip used split among the workloads that were bound to it."""
