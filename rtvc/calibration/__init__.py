"""Step times measured on this machine, and the block, headroom and context that follow."""
