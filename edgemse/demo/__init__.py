"""The live demo: a fleet on one machine, its broker stopped half-way, and the proof at the end."""
