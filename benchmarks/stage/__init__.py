"""Where a bot is measured: its far end, the network between, and what goes over the wire."""
