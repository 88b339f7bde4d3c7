"""Sources of invented tasks, drawn from a key alone."""
