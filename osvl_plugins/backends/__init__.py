"""What the tools stand on: services over HTTP and parts that run in this machine."""
