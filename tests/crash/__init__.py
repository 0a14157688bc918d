"""A device that ends at any moment, on a disk that keeps what it likes, fills up or fails."""
