"""Real processes, broken at random: what feeders saw confirmed is what the fleet has, once."""
