"""The registry: who may issue what, at which level and size, in which unit, at what instant."""
