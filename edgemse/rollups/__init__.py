"""Hours and days in one row each, and what is kept of cells once they are old."""
