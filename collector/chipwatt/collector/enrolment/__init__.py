"""Certificates that the collector signs: for who has a token, and for who has one already."""
