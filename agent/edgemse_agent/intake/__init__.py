"""How samples come in: JSON lines from a Unix socket or standard input, labels from MQTT."""
