"""What a person at a terminal sees: progress, tables, lists, comparisons."""
