"""Episodes: few-shot tasks drawn from the classes of a set."""
