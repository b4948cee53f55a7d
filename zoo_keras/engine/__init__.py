"""From a graph to numbers: lowering, Programs, and the door to the C library."""
