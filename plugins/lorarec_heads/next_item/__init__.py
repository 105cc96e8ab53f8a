"""Next item: what a user will turn to, out of the whole catalog."""
