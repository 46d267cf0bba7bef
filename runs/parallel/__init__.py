"""One run by several processes, each with a share of every batch: gradients are averaged, and the result is that of one process."""
