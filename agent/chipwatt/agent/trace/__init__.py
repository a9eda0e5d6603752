"""Recorded power traces: one model, readers that know a file by its content, one writer."""
