"""Ways in that people already know, one peer a file; none is imported but by its own adapter."""
