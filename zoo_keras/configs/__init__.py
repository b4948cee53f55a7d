"""Objects to configs and back, and the names by which a config knows them."""
