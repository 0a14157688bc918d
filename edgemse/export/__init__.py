"""The figures in other systems' formats."""
