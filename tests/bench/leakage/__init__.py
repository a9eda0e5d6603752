"""What somebody who reads what leaves a host can still tell of the tenant on it."""
