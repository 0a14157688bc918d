"""The device daemon: takes samples, predictions and labels in, sends compact cells out."""
