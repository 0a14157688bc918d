"""What is computed: error statistics as a commutative monoid."""
