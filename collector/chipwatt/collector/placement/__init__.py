"""What fits where: the power topology and the headroom of every node of it."""
