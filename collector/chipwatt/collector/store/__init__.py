"""Durable books: SQLite in WAL mode, columns in zstd blocks, a file a day."""
