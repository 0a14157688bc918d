"""The `edgemse` command."""
