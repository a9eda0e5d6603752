"""Who gets in: roles from certificates, what each role may call, limits, and the audit log."""
