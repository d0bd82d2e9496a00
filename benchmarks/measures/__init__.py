"""What is measured: one module for each kind, and ``catalogue`` for all of them."""
