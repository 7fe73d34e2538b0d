"""Whether what the services hold agrees: snapshots of them, and a comparison without any I/O."""
