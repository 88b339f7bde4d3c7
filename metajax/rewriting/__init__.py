"""Programs of models, traced and rewritten with operations that stay fast in meta-learning."""
