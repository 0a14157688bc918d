"""What the fleet's figures are handed on as, to others than those who ask."""
