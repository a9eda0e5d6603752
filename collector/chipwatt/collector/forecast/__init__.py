"""Peaks of power nodes: aligned cohort conformal, and the classic rules beside it."""
