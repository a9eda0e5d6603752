"""The command ``chipwatt``: one entry point, one module a sub-command."""
