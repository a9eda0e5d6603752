"""One file a vendor interface; each registers itself with ``@source``."""
