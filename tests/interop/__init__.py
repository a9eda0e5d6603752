"""Real back ends, built through Go's module system: what is pushed to them is queried back."""
