"""What every source shares: the contract, the registry, rooted file reads."""
