"""Learning algorithms, one a file: each a function that returns a `Learner`."""
