"""The monitor: receives the trapped calls of a view, and answers them."""
