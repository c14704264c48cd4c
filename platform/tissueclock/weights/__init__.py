"""First weights: from a promoted parent or somebody else's file, loaded whole or refused, each tensor accounted for."""
