"""Sound in and out: devices, files, and a simulated device."""
