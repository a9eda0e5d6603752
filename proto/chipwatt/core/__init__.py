"""What agent and collector agree on: words, units, columns, codec, settings."""
