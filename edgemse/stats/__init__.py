"""What is computed: error statistics and coverage, each a commutative monoid under merge."""
