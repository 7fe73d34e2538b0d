"""The portal: the reference subscriber, a small Vitnemålsportal for one hub (see README.md)."""
