"""Self-test: small networks and single operators with known results, on the device in use."""
