"""Many runs: what varies, expanded into runs with stable names, carried out side by side, and what became of them."""
