"""What is written down and read back: run directories, groups of runs, recipes and their results."""
