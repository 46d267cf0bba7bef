"""Transfer: a source task, a target task, and the order to dispose of the source."""
