"""Reports of runs: what they met, the tables, the figures, and the page that holds them."""
