"""Published data sets on disk: where they are, how they are fetched and what is read from them."""
