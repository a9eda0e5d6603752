"""Experiments on the forecast and the placement that rests on it."""
