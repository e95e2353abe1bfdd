"""Python interface: load, build, train, evaluate, export detectors; detect in images."""
